/* SPDX-License-Identifier: Apache-2.0 */
/* A status with words. */
#include "common/error.h"

#include <stdarg.h>
#include <stdio.h>

enum status error_set(struct error *ret_error, enum status st, const char *format, ...)
{
    va_list args;

    if (!ret_error)
        return st;
    ret_error->status = st;
    va_start(args, format);
    vsnprintf(ret_error->text, sizeof ret_error->text, format, args);
    va_end(args);
    return st;
}
