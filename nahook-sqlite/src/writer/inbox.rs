//! Orders that wait for the thread, the most urgent first.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use super::Order;
use super::job::{Closing, Urgency};

/// Number of publications after which one of the other jobs has its turn, however many publications wait.
const PUBLICATIONS_A_TURN: usize = 8;

/// Orders that wait. They outlive a thread that dies.
pub(super) struct Inbox {
    receiver: Receiver<Order>,
    settlements: VecDeque<Order>,
    publications: VecDeque<Order>,
    others: VecDeque<Order>,
    /// Publications handed out since one of the others was.
    publications_in_a_row: usize,
    /// The order to close: what came before it is handed out, and nothing that comes later is received.
    closing: Option<Closing>,
    is_disconnected: bool,
}

impl Inbox {
    pub(super) fn new(receiver: Receiver<Order>) -> Self {
        Self {
            receiver,
            settlements: VecDeque::new(),
            publications: VecDeque::new(),
            others: VecDeque::new(),
            publications_in_a_row: 0,
            closing: None,
            is_disconnected: false,
        }
    }

    /// Returns the next order, if one waits: settlements go first, and the order to close comes last.
    pub(super) fn next(&mut self) -> Option<Order> {
        while self.closing.is_none() && !self.is_disconnected {
            match self.receiver.try_recv() {
                Ok(order) => self.put(order),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => self.is_disconnected = true,
            }
        }
        self.take()
    }

    /// Returns the next order, and waits for one.
    pub(super) fn next_within(&mut self, patience: Duration) -> Result<Order, RecvTimeoutError> {
        if let Some(order) = self.next() {
            return Ok(order);
        }
        let order = self.receiver.recv_timeout(patience)?;
        self.put(order);
        self.next().ok_or(RecvTimeoutError::Timeout)
    }

    fn put(&mut self, order: Order) {
        match order {
            Order::Close(answer) => self.closing = Some(answer),
            Order::Write(job, ticket) => {
                let waiting = match job.urgency() {
                    Urgency::Settlement => &mut self.settlements,
                    Urgency::Publication => &mut self.publications,
                    Urgency::Other => &mut self.others,
                };
                waiting.push_back(Order::Write(job, ticket));
            }
        }
    }

    fn take(&mut self) -> Option<Order> {
        if let Some(settlement) = self.settlements.pop_front() {
            return Some(settlement);
        }
        let is_turn_of_others =
            self.publications.is_empty() || self.publications_in_a_row >= PUBLICATIONS_A_TURN;
        if is_turn_of_others && let Some(other) = self.others.pop_front() {
            self.publications_in_a_row = 0;
            return Some(other);
        }
        if let Some(publication) = self.publications.pop_front() {
            self.publications_in_a_row += 1;
            return Some(publication);
        }
        self.closing.take().map(Order::Close)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc;

    use tokio::sync::oneshot;

    use super::super::{Job, Session, Ticket};
    use super::*;
    use crate::error::WriteError;
    use crate::queue::QueueState;

    struct Named(Urgency, usize);

    impl Job for Named {
        fn weight(&self) -> usize {
            self.1
        }

        fn urgency(&self) -> Urgency {
            self.0
        }

        fn take(&mut self, _queue: &mut QueueState) -> bool {
            true
        }

        fn write(&mut self, _session: &mut Session) -> rusqlite::Result<()> {
            Ok(())
        }

        fn conclude(&mut self, _is_committed: bool, _queue: &mut QueueState) {}

        fn answer(self: Box<Self>, _outcome: Result<(), WriteError>) {}
    }

    /// The weights of the jobs in the order in which they are handed out, 0 for the order to close.
    fn handed_out(orders: Vec<Order>) -> Vec<usize> {
        let (sender, receiver) = mpsc::channel();
        let mut inbox = Inbox::new(receiver);
        for order in orders {
            sender.send(order).unwrap();
        }
        let next = || inbox.next();
        let weight = |order: Order| match order {
            Order::Write(job, _) => job.weight(),
            Order::Close(_) => 0,
        };
        std::iter::from_fn(next).map(weight).collect()
    }

    fn job(urgency: Urgency, number: usize) -> Order {
        Order::Write(
            Box::new(Named(urgency, number)),
            Ticket::new(&Arc::default()),
        )
    }

    #[test]
    fn settlements_go_first_and_every_ninth_is_another() {
        let mut orders = vec![job(Urgency::Other, 100), job(Urgency::Other, 101)];
        orders.extend((1..=20).map(|number| job(Urgency::Publication, number)));
        orders.push(job(Urgency::Settlement, 200));
        let mut expected = vec![200];
        expected.extend(1..=8);
        expected.push(100);
        expected.extend(9..=16);
        expected.push(101);
        expected.extend(17..=20);
        assert_eq!(handed_out(orders), expected);
    }

    #[test]
    fn order_to_close_comes_after_all_that_came_before_it_and_ends_the_rest() {
        let (answer, _) = oneshot::channel();
        let orders = vec![
            job(Urgency::Other, 3),
            job(Urgency::Publication, 2),
            Order::Close(answer),
            job(Urgency::Settlement, 1),
        ];
        assert_eq!(handed_out(orders), [2, 3, 0, 1]);
    }
}
