/*
 * _dl_find_object for musl, which has none: Debian's libgcc_eh is built for glibc and asks it, while unwinding, where the
 * unwind table of an address is. The answer comes from dl_iterate_phdr, which musl has. The structure is glibc's
 * (dlfcn.h, struct dl_find_object).
 */
#define _GNU_SOURCE
#include <link.h>

struct found {
    unsigned long long flags;
    void *map_start, *map_end;
    void *link_map;
    void *unwind_table;
    int unwind_entries;
};

struct search {
    char *address;
    struct found *found;
};

#ifdef __arm__
#define UNWIND_SEGMENT 0x70000001 /* PT_ARM_EXIDX */
#else
#define UNWIND_SEGMENT PT_GNU_EH_FRAME
#endif

static int look(struct dl_phdr_info *object, size_t size, void *argument)
{
    struct search *search = argument;
    const ElfW(Phdr) *unwind = 0;
    int inside = 0;
    (void)size;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        char *start = (char *)object->dlpi_addr + segment->p_vaddr;
        if (segment->p_type == PT_LOAD && search->address >= start && search->address < start + segment->p_memsz) {
            inside = 1;
            search->found->map_start = start;
            search->found->map_end = start + segment->p_memsz;
        }
        if (segment->p_type == UNWIND_SEGMENT)
            unwind = segment;
    }
    if (!inside || !unwind)
        return 0;
    search->found->unwind_table = (char *)object->dlpi_addr + unwind->p_vaddr;
#ifdef __arm__
    search->found->unwind_entries = (int)(unwind->p_memsz / 8);
#endif
    return 1;
}

int _dl_find_object(void *address, struct found *found)
{
    struct search search = { address, found };
    found->flags = 0;
    found->link_map = 0;
    return dl_iterate_phdr(look, &search) ? 0 : -1;
}
