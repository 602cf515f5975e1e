//! The one queue that the gate waits on: bounded, and it keeps what matters when it is full.

use std::sync::{Condvar, Mutex, PoisonError};

use heapless::Deque;

use super::shared::lock;
use crate::time::Duration;

/// Waiting messages at most. A gate that can't keep up with so many is one whose machine has stopped.
pub const CAPACITY: usize = 64;

/// Many senders, one receiver.
pub struct Queue<T> {
    waiting: Mutex<Deque<T, CAPACITY>>,
    arrived: Condvar,
    is_droppable: fn(&T) -> bool,
}

impl<T> Queue<T> {
    /// With what may be dropped for another message when the queue is full.
    pub const fn new(is_droppable: fn(&T) -> bool) -> Self {
        Self { waiting: Mutex::new(Deque::new()), arrived: Condvar::new(), is_droppable }
    }

    /// Adds a message. A full queue drops its oldest droppable one for it; where none is, the message comes back.
    ///
    /// # Errors
    /// The message itself: the queue is full of what must not be lost.
    pub fn put(&self, message: T) -> Result<(), T> {
        let mut waiting = lock(&self.waiting);
        if waiting.is_full() && !drop_oldest(&mut waiting, self.is_droppable) {
            return Err(message);
        }
        waiting.push_back(message)?;
        self.arrived.notify_one();
        Ok(())
    }

    /// The next message, or `None` when nothing came within `timeout`.
    pub fn take(&self, timeout: Duration) -> Option<T> {
        let waiting = lock(&self.waiting);
        let waited = self.arrived.wait_timeout_while(waiting, timeout, |waiting| waiting.is_empty());
        waited.unwrap_or_else(PoisonError::into_inner).0.pop_front()
    }
}

/// Rotates the queue once, so that the order of what stays is kept.
fn drop_oldest<T>(waiting: &mut Deque<T, CAPACITY>, is_droppable: fn(&T) -> bool) -> bool {
    let mut dropped = false;
    for _ in 0..waiting.len() {
        let Some(message) = waiting.pop_front() else { break };
        if !dropped && is_droppable(&message) {
            dropped = true;
            continue;
        }
        let _there_is_room = waiting.push_back(message);
    }
    dropped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    enum Message {
        Frame(usize),
        Exit,
    }

    fn queue() -> Queue<Message> {
        Queue::new(|message| matches!(message, Message::Frame(_)))
    }

    #[test]
    fn a_full_queue_drops_the_oldest_frame_and_never_the_exit_button() {
        let queue = queue();
        queue.put(Message::Exit).unwrap();
        for i in 0..200 {
            queue.put(Message::Frame(i)).unwrap();
        }
        queue.put(Message::Exit).unwrap();
        assert_eq!(queue.take(Duration::ZERO), Some(Message::Exit));
        for i in 200 - (CAPACITY - 2)..200 {
            assert_eq!(queue.take(Duration::ZERO), Some(Message::Frame(i)));
        }
        assert_eq!(queue.take(Duration::ZERO), Some(Message::Exit));
        assert_eq!(queue.take(Duration::ZERO), None);
    }

    #[test]
    fn a_queue_full_of_what_matters_gives_the_message_back() {
        let queue = queue();
        for _ in 0..CAPACITY {
            queue.put(Message::Exit).unwrap();
        }
        assert_eq!(queue.put(Message::Frame(1)), Err(Message::Frame(1)));
        assert_eq!(queue.put(Message::Exit), Err(Message::Exit));
    }

    #[test]
    fn a_waiting_receiver_wakes_for_a_message_from_another_thread() {
        let queue = queue();
        std::thread::scope(|scope| {
            scope.spawn(|| queue.put(Message::Exit));
            assert_eq!(queue.take(Duration::MAX), Some(Message::Exit));
        });
    }
}
