/* Preloaded into a program: writes down, in order, what it does to the files below AVL_FLASH_ROOT, and what it says on
 * standard error. `trace.rs` reads it. A write is noted when it is done, a sync when it begins and when it is done, so
 * that a write counts as synced only when it was done before the sync began. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WRITE = 1, TRUNCATE, SYNC_BEGIN, SYNC_END, CREATE, RENAME, UNLINK, MAKE_FOLDER, SAID };

static int trace = -1;
static const char *root;
static size_t root_length;
static uint64_t syncs;
static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void) {
    const char *file = getenv("AVL_FLASH_TRACE");
    root = getenv("AVL_FLASH_ROOT");
    if (!file || !root) return;
    root_length = strlen(root);
    trace = (int)syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void note(uint8_t what, const char *path, const char *other, uint64_t at, const void *data, uint32_t length) {
    if (trace < 0) return;
    uint16_t first = (uint16_t)strlen(path), second = (uint16_t)strlen(other);
    struct iovec parts[8] = {{&what, 1},       {&first, 2},           {&second, 2},           {&at, 8},
                             {&length, 4},     {(void *)path, first}, {(void *)other, second}, {(void *)data, length}};
    pthread_mutex_lock(&order);
    syscall(SYS_writev, trace, parts, 8);
    pthread_mutex_unlock(&order);
}

/* The path below the root, or NULL. */
static const char *below(const char *path) {
    if (!root || trace < 0 || !path || strncmp(path, root, root_length) != 0) return NULL;
    return path[root_length] == '/' ? path + root_length + 1 : path + root_length;
}

static const char *name_of(int fd, char *space) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, space, 4095);
    if (length < 0) return NULL;
    space[length] = 0;
    return below(space);
}

static void wrote(int fd, const void *data, ssize_t length, int64_t at) {
    char space[4096];
    if (trace < 0 || length <= 0) return;
    if (fd == 2) { note(SAID, "", "", 0, data, (uint32_t)length); return; }
    const char *name = name_of(fd, space);
    if (!name) return;
    if (at < 0) at = lseek(fd, 0, SEEK_CUR) - length;
    note(WRITE, name, "", (uint64_t)at, data, (uint32_t)length);
}

ssize_t write(int fd, const void *data, size_t length) {
    ssize_t done = REAL(write)(fd, data, length);
    wrote(fd, data, done, -1);
    return done;
}
ssize_t pwrite(int fd, const void *data, size_t length, off_t at) {
    ssize_t done = REAL(pwrite)(fd, data, length, at);
    wrote(fd, data, done, at);
    return done;
}
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t at) {
    ssize_t done = REAL(pwrite64)(fd, data, length, at);
    wrote(fd, data, done, at);
    return done;
}

static int cut_to(int fd, int done, int64_t length) {
    char space[4096];
    const char *name = done == 0 ? name_of(fd, space) : NULL;
    if (name) note(TRUNCATE, name, "", (uint64_t)length, "", 0);
    return done;
}
int ftruncate(int fd, off_t length) { return cut_to(fd, REAL(ftruncate)(fd, length), length); }
int ftruncate64(int fd, off64_t length) { return cut_to(fd, REAL(ftruncate64)(fd, length), length); }

static uint64_t sync_begins(int fd, char *space, const char **name) {
    *name = name_of(fd, space);
    if (!*name) return 0;
    uint64_t number = __atomic_add_fetch(&syncs, 1, __ATOMIC_SEQ_CST);
    note(SYNC_BEGIN, *name, "", number, "", 0);
    return number;
}
int fsync(int fd) {
    char space[4096];
    const char *name;
    uint64_t number = sync_begins(fd, space, &name);
    int done = REAL(fsync)(fd);
    if (name && done == 0) note(SYNC_END, name, "", number, "", 0);
    return done;
}
int fdatasync(int fd) {
    char space[4096];
    const char *name;
    uint64_t number = sync_begins(fd, space, &name);
    int done = REAL(fdatasync)(fd);
    if (name && done == 0) note(SYNC_END, name, "", number, "", 0);
    return done;
}

static int opened(const char *path, int flags, int fd) {
    const char *name = below(path);
    if (name && fd >= 0 && (flags & (O_CREAT | O_TRUNC))) note(CREATE, name, "", (flags & O_TRUNC) ? 1 : 0, "", 0);
    return fd;
}
int open(const char *path, int flags, ...) {
    va_list list;
    va_start(list, flags);
    mode_t mode = va_arg(list, mode_t);
    va_end(list);
    return opened(path, flags, REAL(open)(path, flags, mode));
}
int open64(const char *path, int flags, ...) {
    va_list list;
    va_start(list, flags);
    mode_t mode = va_arg(list, mode_t);
    va_end(list);
    return opened(path, flags, REAL(open64)(path, flags, mode));
}
int openat(int folder, const char *path, int flags, ...) {
    va_list list;
    va_start(list, flags);
    mode_t mode = va_arg(list, mode_t);
    va_end(list);
    return opened(path, flags, REAL(openat)(folder, path, flags, mode));
}
int openat64(int folder, const char *path, int flags, ...) {
    va_list list;
    va_start(list, flags);
    mode_t mode = va_arg(list, mode_t);
    va_end(list);
    return opened(path, flags, REAL(openat64)(folder, path, flags, mode));
}
int rename(const char *from, const char *to) {
    int done = REAL(rename)(from, to);
    const char *old = below(from), *new = below(to);
    if (done == 0 && old && new) note(RENAME, old, new, 0, "", 0);
    return done;
}
int unlink(const char *path) {
    int done = REAL(unlink)(path);
    const char *name = below(path);
    if (done == 0 && name) note(UNLINK, name, "", 0, "", 0);
    return done;
}
int mkdir(const char *path, mode_t mode) {
    int done = REAL(mkdir)(path, mode);
    const char *name = below(path);
    if (done == 0 && name) note(MAKE_FOLDER, name, "", 0, "", 0);
    return done;
}
