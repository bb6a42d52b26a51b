//! The allocator. glibc's keeps what a start or a large change took for moments, twice what an agent
//! holds at rest; jemalloc gives it back.

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// One arena, and what is free goes back to the system at once: an agent waits for Git and for providers,
/// never for memory.
#[expect(
    unsafe_code,
    reason = "jemalloc reads its options from a symbol of this name, which nothing else in the program has"
)]
#[unsafe(export_name = "_rjem_malloc_conf")]
static OPTIONS: &[u8; 44] = b"narenas:1,dirty_decay_ms:0,muzzy_decay_ms:0\0";
