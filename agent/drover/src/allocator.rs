//! The allocator of the whole program, libgit2 with it. glibc's keeps what a start or a large change took
//! for moments, twice what an agent holds at rest; jemalloc gives it back.

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// One arena, no caches of threads, and what is free goes back to the system at once: an agent waits for
/// Git and for providers, never for memory.
#[expect(
    unsafe_code,
    reason = "jemalloc reads its options from a symbol of this name, which nothing else in the program has"
)]
#[unsafe(export_name = "malloc_conf")]
static OPTIONS: &[u8; 57] = b"narenas:1,tcache:false,dirty_decay_ms:0,muzzy_decay_ms:0\0";
