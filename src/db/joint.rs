//! Things that are asked for one by one and done together: what comes while others are being done
//! waits, and all that waits is done at once.
//!
//! A commit takes as long for a hundred requests as for one, and so does a query for a hundred
//! rows. Nobody waits for company: where nothing is being done, the first is done by itself.
//!
//! Guaranteed: each who asks gets the answer to its own question, to work that began after it
//! asked. Who goes away before its turn is left out, and others do not notice. What waits and what
//! is done at once is bounded by weight; what was taken in weighs until nobody holds it any more.

use std::{
    collections::VecDeque,
    future::Future,
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// What is done together.
pub trait Together: Send + Sync + 'static {
    /// What one asks for.
    type Ask: Send + Sync + 'static;
    /// What it is told.
    type Answer: Send + 'static;

    /// Answers all, in their order.
    fn answer(
        &self,
        asked: Vec<Arc<Asked<Self::Ask>>>,
    ) -> impl Future<Output = Vec<Self::Answer>> + Send;
}

/// The bounds of a [`Joint`].
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Groups that are under way at once.
    pub groups_max: usize,
    /// The weight of a group, unless a single one of it weighs more.
    pub group_weight_max: usize,
    /// How many are in a group.
    pub group_size_max: usize,
    /// The weight of everything that was taken in.
    pub weight_max: usize,
}

/// There is no room: what waits weighs too much already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// A place for what is asked; given back when it is dropped.
#[derive(Debug)]
pub struct Room {
    weight: usize,
    _permit: OwnedSemaphorePermit,
}

/// What was asked, with its place.
#[derive(Debug)]
pub struct Asked<A> {
    ask: A,
    room: Room,
}

impl<A> Asked<A> {
    /// Puts `ask` into its place.
    pub fn new(ask: A, room: Room) -> Arc<Self> {
        Arc::new(Self { ask, room })
    }
}

impl<A> Deref for Asked<A> {
    type Target = A;

    fn deref(&self) -> &A {
        &self.ask
    }
}

/// Where things are asked for; clones share it.
pub struct Joint<T: Together>(Arc<Inner<T>>);

struct Inner<T: Together> {
    work: T,
    bounds: Bounds,
    room: Arc<Semaphore>,
    queue: Mutex<Queue<T>>,
}

struct Queue<T: Together> {
    waiting: VecDeque<Waiting<T>>,
    groups: usize,
}

struct Waiting<T: Together> {
    asked: Arc<Asked<T::Ask>>,
    answer: oneshot::Sender<T::Answer>,
}

impl<T: Together> Clone for Joint<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Together> Joint<T> {
    /// Does `work` together, within `bounds`.
    #[must_use]
    pub fn new(work: T, bounds: Bounds) -> Self {
        let weight_max = bounds.weight_max.min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Inner {
            work,
            bounds,
            room: Arc::new(Semaphore::new(weight_max)),
            queue: Mutex::new(Queue {
                waiting: VecDeque::new(),
                groups: 0,
            }),
        }))
    }

    /// A place for something of this weight.
    ///
    /// # Errors
    ///
    /// [`Full`], at once.
    pub fn room(&self, weight: usize) -> Result<Room, Full> {
        let permits = u32::try_from(weight).map_err(|_| Full)?;
        let permit = Arc::clone(&self.0.room).try_acquire_many_owned(permits);
        permit
            .map(|permit| Room {
                weight,
                _permit: permit,
            })
            .map_err(|_| Full)
    }

    /// Waits for the answer. `None`: the work panicked, and it is not known what it did.
    pub async fn ask(&self, asked: &Arc<Asked<T::Ask>>) -> Option<T::Answer> {
        let (sender, answer) = oneshot::channel();
        if self.0.push(Waiting {
            asked: Arc::clone(asked),
            answer: sender,
        }) {
            // A task of its own: who asks may go away, and others have come by then.
            tokio::spawn(Arc::clone(&self.0).work());
        }
        answer.await.ok()
    }
}

impl<T: Together> Inner<T> {
    /// Whether it takes another group to have this done.
    fn push(&self, waiting: Waiting<T>) -> bool {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.waiting.push_back(waiting);
        let is_needed = queue.groups < self.bounds.groups_max;
        queue.groups += usize::from(is_needed);
        is_needed
    }

    /// Does group after group, until nothing waits.
    async fn work(self: Arc<Self>) {
        while let Some(group) = self.next() {
            let (asked, senders): (Vec<_>, Vec<_>) = group
                .into_iter()
                .map(|waiting| (waiting.asked, waiting.answer))
                .unzip();
            let inner = Arc::clone(&self);
            // By itself, so that a panic ends this group and no other.
            let answers = tokio::spawn(async move { inner.work.answer(asked).await }).await;
            for (sender, answer) in senders.into_iter().zip(answers.unwrap_or_default()) {
                // Who went away wants no answer.
                let _ = sender.send(answer);
            }
        }
    }

    /// The next group; `None`, and one group less is under way, if nothing waits.
    fn next(&self) -> Option<Vec<Waiting<T>>> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut group, mut weight) = (Vec::new(), 0);
        while let Some(first) = queue.waiting.pop_front() {
            if first.answer.is_closed() {
                continue;
            }
            weight += first.asked.room.weight;
            let is_full =
                weight > self.bounds.group_weight_max || group.len() >= self.bounds.group_size_max;
            if is_full && !group.is_empty() {
                queue.waiting.push_front(first);
                break;
            }
            group.push(first);
        }
        if group.is_empty() {
            // Under the same lock as the look, or who asks in between would wait for ever.
            queue.groups -= 1;
            return None;
        }
        Some(group)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::{
        sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        task::JoinHandle,
    };

    use super::*;

    /// Doubles numbers. Tells of each group when it begins, and ends it when it is let.
    struct Doubling {
        begun: UnboundedSender<Vec<u32>>,
        may_end: Arc<Semaphore>,
        under_way: AtomicUsize,
    }

    impl Together for Doubling {
        type Ask = u32;
        type Answer = u32;

        async fn answer(&self, asked: Vec<Arc<Asked<u32>>>) -> Vec<u32> {
            let numbers: Vec<u32> = asked.iter().map(|asked| ***asked).collect();
            assert!(self.under_way.fetch_add(1, Ordering::SeqCst) < 2);
            self.begun.send(numbers.clone()).unwrap();
            self.may_end.acquire().await.unwrap().forget();
            self.under_way.fetch_sub(1, Ordering::SeqCst);
            assert!(!numbers.contains(&13), "an unlucky number");
            numbers.iter().map(|number| 2 * number).collect()
        }
    }

    struct Bench {
        joint: Joint<Doubling>,
        begun: UnboundedReceiver<Vec<u32>>,
        may_end: Arc<Semaphore>,
    }

    fn bench(groups_max: usize) -> Bench {
        let (begun, reported) = unbounded_channel();
        let may_end = Arc::new(Semaphore::new(0));
        let work = Doubling {
            begun,
            may_end: Arc::clone(&may_end),
            under_way: AtomicUsize::new(0),
        };
        let bounds = Bounds {
            groups_max,
            group_weight_max: 10,
            group_size_max: 4,
            weight_max: 40,
        };
        Bench {
            joint: Joint::new(work, bounds),
            begun: reported,
            may_end,
        }
    }

    impl Bench {
        /// Asks, and returns when the question waits.
        async fn ask(&self, number: u32, weight: usize) -> JoinHandle<Option<u32>> {
            let asked = Asked::new(number, self.joint.room(weight).unwrap());
            let joint = self.joint.clone();
            let (entered, has_entered) = oneshot::channel();
            let task = tokio::spawn(async move {
                let mut answer = std::pin::pin!(joint.ask(&asked));
                // The first poll puts it into the queue.
                std::future::poll_fn(|context| {
                    let _ = answer.as_mut().poll(context);
                    std::task::Poll::Ready(())
                })
                .await;
                let _ = entered.send(());
                answer.await
            });
            has_entered.await.unwrap();
            task
        }
    }

    #[tokio::test]
    async fn what_comes_meanwhile_is_done_together_within_bounds() {
        // GIVEN a group of one that is under way
        let mut bench = bench(1);
        let first = bench.ask(1, 1).await;
        assert_eq!(bench.begun.recv().await.unwrap(), [1]);
        // WHEN others come
        let mut others = Vec::new();
        for (number, weight) in [(2, 4), (3, 6), (4, 1), (5, 1), (6, 1), (7, 1), (8, 25)] {
            others.push(bench.ask(number, weight).await);
        }
        // THEN there is no room for what weighs too much, and there is when others are done
        assert_eq!(bench.joint.room(1).unwrap_err(), Full);
        bench.may_end.add_permits(4);
        // The weight bounds the first group, the size the second; one that is too heavy is alone.
        assert_eq!(bench.begun.recv().await.unwrap(), [2, 3]);
        assert_eq!(bench.begun.recv().await.unwrap(), [4, 5, 6, 7]);
        assert_eq!(bench.begun.recv().await.unwrap(), [8]);
        assert_eq!(first.await.unwrap(), Some(2));
        for (place, other) in others.into_iter().enumerate() {
            assert_eq!(other.await.unwrap(), Some(2 * (place as u32 + 2)));
        }
        assert!(bench.joint.room(40).is_ok());
        // Nothing is under way any more, so the next one is done at once.
        let next = bench.ask(9, 1).await;
        bench.may_end.add_permits(1);
        assert_eq!(next.await.unwrap(), Some(18));
    }

    #[tokio::test]
    async fn who_went_away_is_left_out_and_gives_its_room_back() {
        let mut bench = bench(1);
        let first = bench.ask(1, 1).await;
        assert_eq!(bench.begun.recv().await.unwrap(), [1]);
        let (gone, stays) = (bench.ask(2, 20).await, bench.ask(3, 1).await);
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        // The one that is being done may go as well: its work goes on.
        first.abort();
        bench.may_end.add_permits(2);
        assert_eq!(bench.begun.recv().await.unwrap(), [3]);
        assert_eq!(stays.await.unwrap(), Some(6));
        assert!(bench.joint.room(40).is_ok());
    }

    #[tokio::test]
    async fn a_panic_ends_its_group_and_no_other() {
        let mut bench = bench(1);
        let unlucky = bench.ask(13, 1).await;
        assert_eq!(bench.begun.recv().await.unwrap(), [13]);
        let next = bench.ask(1, 1).await;
        bench.may_end.add_permits(2);
        assert_eq!(unlucky.await.unwrap(), None);
        assert_eq!(next.await.unwrap(), Some(2));
    }

    #[tokio::test]
    async fn several_groups_may_be_under_way() {
        let mut bench = bench(2);
        let (first, second) = (bench.ask(1, 1).await, bench.ask(2, 1).await);
        let begun = [
            bench.begun.recv().await.unwrap(),
            bench.begun.recv().await.unwrap(),
        ];
        assert_eq!(begun.concat().len(), 2);
        let (third, fourth) = (bench.ask(3, 1).await, bench.ask(4, 1).await);
        bench.may_end.add_permits(3);
        assert_eq!(bench.begun.recv().await.unwrap(), [3, 4]);
        for (task, answer) in [(first, 2), (second, 4), (third, 6), (fourth, 8)] {
            assert_eq!(task.await.unwrap(), Some(answer));
        }
    }
}
