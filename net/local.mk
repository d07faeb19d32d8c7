noinst_LIBRARIES += libnet.a
libnet_a_CFLAGS = $(AM_CFLAGS) $(EVENT_CFLAGS) $(NGHTTP2_CFLAGS) $(CRYPTO_CFLAGS)
NET_LIBS = $(EVENT_LIBS) $(NGHTTP2_LIBS) $(CRYPTO_LIBS)
libnet_a_SOURCES = \
	net/conn.c net/conn.h \
	net/digest.c net/digest.h \
	net/grpc_client.c net/grpc_client.h net/grpc_client_internal.h \
	net/grpc_request.c \
	net/grpc_call.c \
	net/grpc_requests.c \
	net/grpc_server.c net/grpc_server.h net/grpc_server_internal.h \
	net/grpc_text.c net/grpc_text.h \
	net/loop.c net/loop.h \
	net/socket.c net/socket.h \
	net/url.c net/url.h
