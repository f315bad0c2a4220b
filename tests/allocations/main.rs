//! What must not allocate, under an allocator that counts: each thread for itself, and the gateway's cores together.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tollgate::base::Mono;
use tollgate::upstream::{Address, Balancer, Balancing, Node, NodeSet, Pick};

mod exchange;

/// What the cores ask for is counted from here on.
static COUNTING_CORES: AtomicBool = AtomicBool::new(false);
/// How often they asked.
static CORES: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator; counts what each thread asks for.
struct Counting;

/// True on a thread that the gateway named `core-N`. Asked of the kernel: the standard library would allocate.
fn is_core() -> bool {
    let mut name = [0_u8; 16];
    // SAFETY: PR_GET_NAME writes at most sixteen bytes at the pointer, which is to as many.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) == 0 && name.starts_with(b"core-") }
}

fn note() {
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
    if COUNTING_CORES.load(Ordering::Relaxed) && is_core() {
        CORES.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call goes on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller keeps the trait's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        note();
        // SAFETY: the caller keeps the trait's contract.
        unsafe { System.realloc(pointer, layout, bytes) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the trait's contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn count() -> usize {
    COUNT.with(Cell::get)
}

#[test]
fn picking_a_node_allocates_nothing() {
    let node = |index: u8| Node {
        host: "a".into(),
        port: 80,
        address: Address::Tcp(([10, 0, 0, index], 80).into()),
        weight: u32::from(index) + 1,
        priority: i32::from(index % 2),
    };
    let nodes = NodeSet::new((0..8).map(node).collect());
    for balancing in [Balancing::RoundRobin, Balancing::ConsistentHash, Balancing::LeastConnections, Balancing::Ewma] {
        let mut balancer = Balancer::new(balancing, 3);
        // The first pick makes what is kept for this set of nodes.
        balancer.pick(&nodes, &Pick::default(), &|_| true);
        let before = count();
        for seed in 0..1_000 {
            let (now, key) = (Mono::from_ms(seed), seed.to_be_bytes());
            let pick = Pick { tried: &[1], key: &key, seed, now };
            let picked = balancer.pick(&nodes, &pick, &|node| node != 2).expect("one is up");
            balancer.began(picked);
            balancer.ended(picked, Some(seed), now);
            assert!(balancer.pick(&nodes, &pick, &|_| false).is_some());
        }
        assert_eq!(count(), before, "{balancing:?}");
    }
    let before = count();
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(count(), before + 1, "the count counts");
}
