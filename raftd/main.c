/* SPDX-License-Identifier: Apache-2.0 */
/* raftd: flags in, a member until it is told to stop. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/log.h"
#include "raftd/api/api.h"
#include "raftd/conf.h"
#include "raftd/server.h"

extern char **environ;

int main(int argc, char **argv)
{
    static struct conf conf;
    struct server *server = NULL;
    struct error error = {0};
    int exit_status;
    enum log_level level;
    enum status st = conf_parse(&conf, argc, argv, environ, &error);

    if (st == ST_OK && conf.flags.help) {
        conf_print_help();
        return 0;
    }
    if (st == ST_OK && conf.flags.version) {
        printf("raftd %s (etcd API %s)\n", PACKAGE_VERSION, ETCD_API_VERSION);
        return 0;
    }
    log_init("raftd");
    if (st == ST_OK && log_level_from_text(conf.flags.log_level, &level) < 0)
        st = error_set(&error, ST_BAD_ARGUMENT, "--log-level: \"%s\" is no level", conf.flags.log_level);
    if (st == ST_OK) {
        log_set_level(level);
        for (unsigned i = 0; i < CONF_IGNORED_GATES_MAX; i++)
            if (conf.ignored_gates[i])
                log_warning("server", "--feature-gates: %s changes nothing here, proceeding", conf.ignored_gates[i]);
        st = server_open(&conf, &server, &error);
    }
    if (st != ST_OK) {
        fprintf(stderr, "raftd: %s\n", error.text);
        conf_fini(&conf);
        return 1;
    }
    exit_status = server_run(server);
    server_close(server);
    conf_fini(&conf);
    return exit_status;
}
