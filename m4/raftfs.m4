# SPDX-License-Identifier: Apache-2.0
# The compiler line of the whole house: warnings are errors, hardening is on unless it is switched off,
# and a sanitizer build is one configure option.

# RAFTFS_TRY_CFLAG(FLAG, VARIABLE): append FLAG to VARIABLE if the compiler takes it without a warning.
AC_DEFUN([RAFTFS_TRY_CFLAG], [
  AS_VAR_PUSHDEF([cache], [raftfs_cv_cflag_$1])
  AC_CACHE_CHECK([whether $CC takes $1], [cache], [
    raftfs_saved=$CFLAGS
    CFLAGS="$CFLAGS -Werror $1"
    AC_LINK_IFELSE([AC_LANG_PROGRAM([#include <stdlib.h>], [])], [AS_VAR_SET([cache], [yes])], [AS_VAR_SET([cache], [no])])
    CFLAGS=$raftfs_saved
  ])
  AS_VAR_IF([cache], [yes], [$2="$$2 $1"])
  AS_VAR_POPDEF([cache])
])

# Locals that nobody initialised are zero and not what the stack held. clang before 16 wants to be told twice.
AC_DEFUN([RAFTFS_TRY_ZERO_INIT], [
  raftfs_zero=
  RAFTFS_TRY_CFLAG([-ftrivial-auto-var-init=zero], [raftfs_zero])
  AS_IF([test -z "$raftfs_zero"],
    [RAFTFS_TRY_CFLAG([-ftrivial-auto-var-init=zero -enable-trivial-auto-var-init-zero-knowing-it-will-be-removed-from-clang],
      [raftfs_zero])])
  HARD_CFLAGS="$HARD_CFLAGS$raftfs_zero"
])

# glibc checks buffers in optimised code only, and warns in other code; level 3 where compiler and libc have it.
AC_DEFUN([RAFTFS_TRY_FORTIFY], [
  AC_CACHE_CHECK([whether $CC optimises], [raftfs_cv_optimises], [
    AC_COMPILE_IFELSE([AC_LANG_SOURCE([
#ifndef __OPTIMIZE__
#error no
#endif
])], [raftfs_cv_optimises=yes], [raftfs_cv_optimises=no])])
  raftfs_fortify=
  AS_IF([test "$raftfs_cv_optimises" = yes], [
    RAFTFS_TRY_CFLAG([-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3], [raftfs_fortify])
    AS_IF([test -z "$raftfs_fortify"], [RAFTFS_TRY_CFLAG([-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2], [raftfs_fortify])])
  ])
  HARD_CFLAGS="$HARD_CFLAGS$raftfs_fortify"
])

# Only of a compiler that takes a comment for an answer, for uthash has nothing else to say (gcc does, clang does not).
AC_DEFUN([RAFTFS_TRY_FALLTHROUGH], [
  AC_CACHE_CHECK([whether $CC reads comments about falling through], [raftfs_cv_fallthrough], [
    raftfs_saved=$CFLAGS
    CFLAGS="$CFLAGS -Werror -Wimplicit-fallthrough"
    AC_COMPILE_IFELSE([AC_LANG_SOURCE([
int f(int n)
{
    switch (n) {
    case 1: n++; /* FALLTHROUGH */
    case 2: n++;
    }
    return n;
}
])], [raftfs_cv_fallthrough=yes], [raftfs_cv_fallthrough=no])
    CFLAGS=$raftfs_saved
  ])
  AS_IF([test "$raftfs_cv_fallthrough" = yes], [WARN_CFLAGS="$WARN_CFLAGS -Wimplicit-fallthrough"])
])

AC_DEFUN([RAFTFS_WARNINGS_AND_HARDENING], [
  AC_ARG_ENABLE([werror],
    [AS_HELP_STRING([--disable-werror], [warnings do not stop the build])], [], [enable_werror=yes])
  AC_ARG_ENABLE([hardening],
    [AS_HELP_STRING([--disable-hardening], [leave the hardening flags out])], [], [enable_hardening=yes])
  WARN_CFLAGS=
  m4_foreach_w([flag], [-Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith
    -Wcast-qual -Wwrite-strings -Wvla -Wformat=2 -Wundef -Wunused-result],
    [RAFTFS_TRY_CFLAG(flag, [WARN_CFLAGS])])
  RAFTFS_TRY_FALLTHROUGH
  AS_IF([test "$enable_werror" = yes], [WARN_CFLAGS="$WARN_CFLAGS -Werror"])
  HARD_CFLAGS=
  HARD_LDFLAGS=
  AS_IF([test "$enable_hardening" = yes && test -z "$enable_sanitizer"], [
    m4_foreach_w([flag], [-fstack-protector-strong -fstack-clash-protection -fcf-protection=full -fPIE
      -fzero-call-used-regs=used-gpr], [RAFTFS_TRY_CFLAG(flag, [HARD_CFLAGS])])
    RAFTFS_TRY_ZERO_INIT
    RAFTFS_TRY_FORTIFY
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
  AC_ARG_ENABLE([fuzzers],
    [AS_HELP_STRING([--enable-fuzzers], [build tests/fuzz with libFuzzer (needs CC=clang)])], [], [enable_fuzzers=no])
  AS_IF([test "$enable_fuzzers" = yes], [SAN_CFLAGS="$SAN_CFLAGS -fsanitize=fuzzer-no-link"])
  AM_CONDITIONAL([FUZZERS], [test "$enable_fuzzers" = yes])
  AC_SUBST([SAN_CFLAGS])
])

# mount(8) looks for a helper named after the type in /sbin and nowhere else, whatever the prefix.
AC_DEFUN([RAFTFS_MOUNT_HELPER], [
  AC_ARG_WITH([mountdir],
    [AS_HELP_STRING([--with-mountdir=DIR], [where mount(8) looks for mount.raftfs [/sbin]; no: leave it out])],
    [], [with_mountdir=/sbin])
  AS_CASE([$with_mountdir],
    [no], [],
    [/*], [],
    [AC_MSG_ERROR([--with-mountdir needs an absolute directory or no])])
  AM_CONDITIONAL([MOUNT_HELPER], [test "$with_mountdir" != no])
  AC_SUBST([mountdir], [$with_mountdir])
])

# RAFTFS_PLANTED_BUGS: compile in the known bugs of common/planted.def, for tests of the tests. Nothing to install.
AC_DEFUN([RAFTFS_PLANTED_BUGS], [
  AC_ARG_ENABLE([planted-bugs],
    [AS_HELP_STRING([--enable-planted-bugs], [compile in known bugs, to see that the tests find them])], [], [enable_planted_bugs=no])
  AS_IF([test "$enable_planted_bugs" = yes],
    [AC_DEFINE([PLANTED_BUGS], [1], [known bugs are compiled in: common/planted.h])])
  AM_CONDITIONAL([PLANTED_BUGS], [test "$enable_planted_bugs" = yes])
])
