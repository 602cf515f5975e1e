//! How many cores a network's layers share.

use std::sync::OnceLock;

use rayon::ThreadPool;

/// More would stand in the way of what else the daemon does on a board with four.
pub const MAX_CORES: usize = 2;

static POOL: OnceLock<Option<ThreadPool>> = OnceLock::new();

/// Has every network that is loaded from now on use so many cores, one or two; one where this is never said. The first
/// word counts.
///
/// # Errors
/// The system gives no threads.
pub fn use_cores(cores: usize) -> Result<(), rayon::ThreadPoolBuildError> {
    let pool = match cores {
        0 | 1 => None,
        _ => Some(
            rayon::ThreadPoolBuilder::new().num_threads(MAX_CORES).thread_name(|k| format!("layers {k}")).build()?,
        ),
    };
    let _said_before = POOL.set(pool);
    Ok(())
}

/// Where the shares of layers run, if two cores do.
pub(super) fn pool() -> Option<&'static ThreadPool> {
    POOL.get().and_then(Option::as_ref)
}
