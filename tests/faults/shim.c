/* Counts the changes that a process makes to the files below one folder, and stops or spoils the n-th of them.

   Preloaded (LD_PRELOAD), and harmless until `fault_arm` is called. Changes are: opening for writing, writing, making and
   removing files and folders, renaming, truncating, linking, and syncing. Reading is none.

   KILL ends the process by SIGKILL before the change; TORN writes half of the bytes first; FAIL gives the change an
   error, FULL that one and all later ones that need room. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OFF, COUNT, KILL, TORN, FAIL, FULL };
#define MAX_PATH 4096
#define MAX_DIRTY 4096

static atomic_int mode = OFF;
static atomic_long count;
static long target;
static int error_number;
static char root[MAX_PATH], record[MAX_PATH];

/* Files with bytes that no fsync has put on disk: what a power cut may take. */
static struct { dev_t device; ino_t inode; } dirty[MAX_DIRTY];
static int num_dirty;
static atomic_flag lock = ATOMIC_FLAG_INIT;

#define REAL(name, type, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

static void note(const char *text) { /* a line in the record, by system calls that nobody counts */
    int fd = syscall(SYS_openat, AT_FDCWD, record, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0) return;
    syscall(SYS_write, fd, text, strlen(text));
    syscall(SYS_close, fd);
}

void fault_arm(int how, long at, int error, const char *folder, const char *file) {
    atomic_store(&mode, OFF);
    target = at, error_number = error, num_dirty = 0;
    strncpy(root, folder, MAX_PATH - 1), strncpy(record, file, MAX_PATH - 1);
    atomic_store(&count, 0);
    atomic_store(&mode, how);
}

long fault_disarm(void) {
    atomic_store(&mode, OFF);
    return atomic_load(&count);
}

static int below(const char *path) {
    size_t length = strlen(root);
    return length && !strncmp(path, root, length) && (path[length] == '/' || !path[length]);
}

static int of_fd(int fd, char *path) {
    char name[64];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, name, path, MAX_PATH - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return below(path);
}

static int of_path(int folder, const char *given, char *path) {
    char start[MAX_PATH];
    if (!given) return 0;
    if (given[0] == '/') snprintf(path, MAX_PATH, "%s", given);
    else {
        if (folder != AT_FDCWD) { if (!of_fd(folder, start)) return 0; }
        else if (syscall(SYS_getcwd, start, sizeof start) < 0) return 0;
        if (strlen(start) + strlen(given) + 2 > MAX_PATH) return 0;
        memcpy(path, start, strlen(start) + 1);
        strcat(path, "/"), strcat(path, given);
    }
    return below(path);
}

static void mark(int fd, int is_dirty) {
    struct stat info;
    if (fstat(fd, &info) || !S_ISREG(info.st_mode)) return;
    while (atomic_flag_test_and_set(&lock)) ;
    int i = 0;
    while (i < num_dirty && (dirty[i].inode != info.st_ino || dirty[i].device != info.st_dev)) i++;
    if (is_dirty && i == num_dirty && num_dirty < MAX_DIRTY)
        dirty[num_dirty].device = info.st_dev, dirty[num_dirty++].inode = info.st_ino;
    if (!is_dirty && i < num_dirty) dirty[i] = dirty[--num_dirty];
    atomic_flag_clear(&lock);
}

static void die(void) {
    char line[64];
    for (int i = 0; i < num_dirty; i++) {
        snprintf(line, sizeof line, "dirty %lu\n", (unsigned long)dirty[i].inode);
        note(line);
    }
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* What is to become of a change: 0 it happens, 1 it fails, 2 half of it is written before the end. */
static int step(const char *name, const char *path, int needs_room) {
    int how = atomic_load(&mode);
    if (how == OFF) return 0;
    long now = atomic_fetch_add(&count, 1) + 1;
    if (how == COUNT || now < target || (now > target && how != FULL)) return 0;
    if (how == FULL && !needs_room) return 0;
    if (now == target || how == FULL) {
        char line[MAX_PATH + 64];
        snprintf(line, sizeof line, "change %ld %s %s\n", now, name, path);
        note(line);
    }
    if (how == KILL) die();
    if (how == TORN) {
        if (!needs_room || !strstr(name, "write")) die();
        return 2;
    }
    errno = error_number;
    return 1;
}

#define OPENS(name) \
    int name(const char *given, int flags, ...) { \
        REAL(#name, int, const char *, int, ...); \
        va_list rest; va_start(rest, flags); mode_t bits = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; va_end(rest); \
        char path[MAX_PATH]; \
        if ((flags & (O_WRONLY | O_RDWR | O_CREAT)) && of_path(AT_FDCWD, given, path) && step("open", path, flags & O_CREAT)) return -1; \
        int fd = real(given, flags, bits); \
        if (fd >= 0 && (flags & O_TRUNC) && atomic_load(&mode) && of_fd(fd, path)) mark(fd, 1); \
        return fd; \
    }
OPENS(open)
OPENS(open64)

#define OPENS_AT(name) \
    int name(int folder, const char *given, int flags, ...) { \
        REAL(#name, int, int, const char *, int, ...); \
        va_list rest; va_start(rest, flags); mode_t bits = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; va_end(rest); \
        char path[MAX_PATH]; \
        if ((flags & (O_WRONLY | O_RDWR | O_CREAT)) && of_path(folder, given, path) && step("open", path, flags & O_CREAT)) return -1; \
        int fd = real(folder, given, flags, bits); \
        if (fd >= 0 && (flags & O_TRUNC) && atomic_load(&mode) && of_fd(fd, path)) mark(fd, 1); \
        return fd; \
    }
OPENS_AT(openat)
OPENS_AT(openat64)

#define FOPENS(name) \
    FILE *name(const char *given, const char *how) { \
        REAL(#name, FILE *, const char *, const char *); \
        char path[MAX_PATH]; \
        if (how[0] != 'r' && of_path(AT_FDCWD, given, path) && step("open", path, 1)) return NULL; \
        return real(given, how); \
    }
FOPENS(fopen)
FOPENS(fopen64)

#define WRITES(name, parameters, types, all, half) \
    ssize_t name parameters { \
        static ssize_t (*real) types; \
        if (!real) real = (ssize_t (*) types)dlsym(RTLD_NEXT, #name); \
        char path[MAX_PATH]; \
        int what = 0; \
        if (atomic_load(&mode) && of_fd(fd, path)) { \
            what = step(#name, path, 1); \
            if (what != 1) mark(fd, 1); \
        } \
        if (what == 1) return -1; \
        if (what == 2) { real half; die(); } \
        return real all; \
    }
WRITES(write, (int fd, const void *data, size_t n), (int, const void *, size_t), (fd, data, n), (fd, data, n / 2))
WRITES(pwrite, (int fd, const void *data, size_t n, off_t at), (int, const void *, size_t, off_t), (fd, data, n, at), (fd, data, n / 2, at))
WRITES(pwrite64, (int fd, const void *data, size_t n, off64_t at), (int, const void *, size_t, off64_t), (fd, data, n, at), (fd, data, n / 2, at))
WRITES(writev, (int fd, const struct iovec *parts, int n), (int, const struct iovec *, int), (fd, parts, n), (fd, parts, n / 2))
WRITES(pwritev, (int fd, const struct iovec *parts, int n, off_t at), (int, const struct iovec *, int, off_t), (fd, parts, n, at), (fd, parts, n / 2, at))
WRITES(sendfile, (int fd, int from, off_t *at, size_t n), (int, int, off_t *, size_t), (fd, from, at, n), (fd, from, at, n / 2))
WRITES(sendfile64, (int fd, int from, off64_t *at, size_t n), (int, int, off64_t *, size_t), (fd, from, at, n), (fd, from, at, n / 2))

ssize_t copy_file_range(int from, off64_t *a, int to, off64_t *b, size_t n, unsigned flags) {
    REAL("copy_file_range", ssize_t, int, off64_t *, int, off64_t *, size_t, unsigned);
    char path[MAX_PATH];
    if (atomic_load(&mode) && of_fd(to, path)) {
        if (step("copy", path, 1)) return -1;
        mark(to, 1);
    }
    return real(from, a, to, b, n, flags);
}

#define SYNCS(name) \
    int name(int fd) { \
        REAL(#name, int, int); \
        char path[MAX_PATH]; \
        int ours = atomic_load(&mode) && of_fd(fd, path); \
        if (ours && step(#name, path, 0)) return -1; \
        int done = real(fd); \
        if (ours && !done) mark(fd, 0); \
        return done; \
    }
SYNCS(fsync)
SYNCS(fdatasync)

#define CHANGES_FD(name, type) \
    int name(int fd, type length) { \
        REAL(#name, int, int, type); \
        char path[MAX_PATH]; \
        if (atomic_load(&mode) && of_fd(fd, path)) { if (step(#name, path, 1)) return -1; mark(fd, 1); } \
        return real(fd, length); \
    }
CHANGES_FD(ftruncate, off_t)
CHANGES_FD(ftruncate64, off64_t)

#define CHANGES(name, folder, given, room, parameters, types, arguments) \
    int name parameters { \
        static int (*real) types; \
        if (!real) real = (int (*) types)dlsym(RTLD_NEXT, #name); \
        char path[MAX_PATH]; \
        if (atomic_load(&mode) && of_path(folder, given, path) && step(#name, path, room)) return -1; \
        return real arguments; \
    }
CHANGES(rename, AT_FDCWD, b, 0, (const char *a, const char *b), (const char *, const char *), (a, b))
CHANGES(renameat, to, b, 0, (int from, const char *a, int to, const char *b), (int, const char *, int, const char *), (from, a, to, b))
CHANGES(renameat2, to, b, 0, (int from, const char *a, int to, const char *b, unsigned flags), (int, const char *, int, const char *, unsigned), (from, a, to, b, flags))
CHANGES(unlink, AT_FDCWD, a, 0, (const char *a), (const char *), (a))
CHANGES(unlinkat, from, a, 0, (int from, const char *a, int flags), (int, const char *, int), (from, a, flags))
CHANGES(remove, AT_FDCWD, a, 0, (const char *a), (const char *), (a))
CHANGES(rmdir, AT_FDCWD, a, 0, (const char *a), (const char *), (a))
CHANGES(mkdir, AT_FDCWD, a, 1, (const char *a, mode_t bits), (const char *, mode_t), (a, bits))
CHANGES(mkdirat, from, a, 1, (int from, const char *a, mode_t bits), (int, const char *, mode_t), (from, a, bits))
CHANGES(truncate, AT_FDCWD, a, 1, (const char *a, off_t length), (const char *, off_t), (a, length))
CHANGES(link, AT_FDCWD, b, 1, (const char *a, const char *b), (const char *, const char *), (a, b))
CHANGES(symlink, AT_FDCWD, b, 1, (const char *a, const char *b), (const char *, const char *), (a, b))
