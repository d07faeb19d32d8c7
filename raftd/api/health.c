/* SPDX-License-Identifier: Apache-2.0 */
/* grpc.health.v1: the server as a whole serves from its start on; it knows no names of single services. */
#include "proto/health.pb-c.h"
#include "raftd/api/internal.h"

typedef Grpc__Health__V1__HealthCheckRequest health_request;
typedef Grpc__Health__V1__HealthCheckResponse health_response;

static health_request *decode(struct api *a, struct slice message)
{
    return grpc__health__v1__health_check_request__unpack(&a->arena.allocator, message.len, message.data);
}

void api_health_check(struct api *a, struct grpc_call *call, struct slice message)
{
    health_response response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    health_request *r = decode(a, message);
    bool known = r && !*r->service;

    arena_reset(&a->arena);
    response.status = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
    if (!r)
        api_fail(call, ST_BAD_MESSAGE);
    else if (!known)
        grpc_call_finish(call, ST_NOT_FOUND, "unknown service");
    else
        api_reply_message(call, &response.base);
}

/* The state, now and whenever it changes: it does not, so the stream stays open until somebody ends it. */
void api_health_watch(struct api *a, struct grpc_call *call, struct slice message)
{
    health_response response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    health_request *r = decode(a, message);
    bool known = r && !*r->service;
    size_t len;

    arena_reset(&a->arena);
    if (!r) {
        api_fail(call, ST_BAD_MESSAGE);
        return;
    }
    response.status = known ? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING :
                              GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN;
    len = grpc__health__v1__health_check_response__get_packed_size(&response);
    grpc__health__v1__health_check_response__pack(&response, grpc_call_message(call, len));
}

void api_health_on_cancel(struct grpc_call *call, void *service_arg)
{
    (void)service_arg;
    grpc_call_finish(call, ST_CANCELED, NULL);
}
