# SPDX-License-Identifier: Apache-2.0
# The compiler line of the whole house: warnings are errors, hardening is on unless it is switched off,
# and a sanitizer build is one configure option.

# RAFTFS_TRY_CFLAG(FLAG, VARIABLE): append FLAG to VARIABLE if the compiler takes it without a warning.
AC_DEFUN([RAFTFS_TRY_CFLAG], [
  AS_VAR_PUSHDEF([cache], [raftfs_cv_cflag_$1])
  AC_CACHE_CHECK([whether $CC takes $1], [cache], [
    raftfs_saved=$CFLAGS
    CFLAGS="$CFLAGS -Werror $1"
    AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])], [AS_VAR_SET([cache], [yes])], [AS_VAR_SET([cache], [no])])
    CFLAGS=$raftfs_saved
  ])
  AS_VAR_IF([cache], [yes], [$2="$$2 $1"])
  AS_VAR_POPDEF([cache])
])

AC_DEFUN([AX_WARNINGS_AND_HARDENING], [
  AC_ARG_ENABLE([werror],
    [AS_HELP_STRING([--disable-werror], [warnings do not stop the build])], [], [enable_werror=yes])
  AC_ARG_ENABLE([hardening],
    [AS_HELP_STRING([--disable-hardening], [leave the hardening flags out])], [], [enable_hardening=yes])
  WARN_CFLAGS=
  m4_foreach_w([flag], [-Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith
    -Wcast-qual -Wwrite-strings -Wvla -Wformat=2 -Wundef -Wimplicit-fallthrough -Wunused-result],
    [RAFTFS_TRY_CFLAG(flag, [WARN_CFLAGS])])
  AS_IF([test "$enable_werror" = yes], [WARN_CFLAGS="$WARN_CFLAGS -Werror"])
  HARD_CFLAGS=
  HARD_LDFLAGS=
  AS_IF([test "$enable_hardening" = yes && test -z "$enable_sanitizer"], [
    m4_foreach_w([flag], [-fstack-protector-strong -fstack-clash-protection -fcf-protection=full -fPIE],
      [RAFTFS_TRY_CFLAG(flag, [HARD_CFLAGS])])
    HARD_CFLAGS="$HARD_CFLAGS -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2"
    HARD_LDFLAGS="-pie -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack"
  ])
  AC_SUBST([WARN_CFLAGS])
  AC_SUBST([HARD_CFLAGS])
  AC_SUBST([HARD_LDFLAGS])
])

AC_DEFUN([RAFTFS_SANITIZER], [
  AC_ARG_ENABLE([sanitizer],
    [AS_HELP_STRING([--enable-sanitizer=LIST], [address,undefined or thread])], [], [enable_sanitizer=])
  SAN_CFLAGS=
  AS_CASE([$enable_sanitizer],
    [''|no], [enable_sanitizer=],
    [yes], [AC_MSG_ERROR([--enable-sanitizer needs a list, such as address,undefined])],
    [SAN_CFLAGS="-fsanitize=$enable_sanitizer -fno-sanitize-recover=all -fno-omit-frame-pointer"])
  AC_SUBST([SAN_CFLAGS])
])
