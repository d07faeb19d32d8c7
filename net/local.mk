# SPDX-License-Identifier: Apache-2.0
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
	net/resolver.c net/resolver.h \
	net/socket.c net/socket.h \
	net/url.c net/url.h

if HAVE_CMOCKA
net_test_cflags = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
net_test_libs = libnet.a libcommon.a $(CMOCKA_LIBS) $(NET_LIBS)

check_PROGRAMS += test_net_conn test_net_loop test_net_resolver test_net_socket test_net_url test_grpc_text
TESTS += test_net_conn test_net_loop test_net_resolver test_net_socket test_net_url test_grpc_text
test_net_conn_SOURCES = tests/unit/test_net_conn.c tests/unit/check.h
test_net_conn_CFLAGS = $(net_test_cflags)
test_net_conn_LDADD = $(net_test_libs)
test_net_loop_SOURCES = tests/unit/test_net_loop.c tests/unit/check.h
test_net_loop_CFLAGS = $(net_test_cflags)
test_net_loop_LDADD = $(net_test_libs)
test_net_resolver_SOURCES = tests/unit/test_net_resolver.c tests/unit/check.h
test_net_resolver_CFLAGS = $(net_test_cflags)
test_net_resolver_LDADD = $(net_test_libs)
test_net_socket_SOURCES = tests/unit/test_net_socket.c tests/unit/check.h
test_net_socket_CFLAGS = $(net_test_cflags)
test_net_socket_LDADD = $(net_test_libs)
test_net_url_SOURCES = tests/unit/test_net_url.c tests/unit/check.h
test_net_url_CFLAGS = $(net_test_cflags)
test_net_url_LDADD = $(net_test_libs)
test_grpc_text_SOURCES = tests/unit/test_grpc_text.c tests/unit/check.h
test_grpc_text_CFLAGS = $(net_test_cflags)
test_grpc_text_LDADD = $(net_test_libs)
endif
