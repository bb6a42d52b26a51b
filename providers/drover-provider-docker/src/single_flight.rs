//! One question under way for each key, whose answer is that of everybody who waits for it.
//!
//! Who asks first answers, in whatever task it likes, and says what came of it. Failures are answers like any
//! other. One that is given up says nothing: who waited for it is told so, and the next who asks is the first again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use crate::provider::lock;

/// The questions under way, by key. Who waits for one has a receiver: it is none as long as the question goes on.
type UnderWay<T> = Arc<Mutex<BTreeMap<String, watch::Receiver<Option<T>>>>>;

/// Questions under way, at most one for each key.
#[derive(Debug)]
pub(crate) struct SingleFlight<T>(UnderWay<T>);

impl<T> Default for SingleFlight<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

/// An answer to come.
#[derive(Debug)]
pub(crate) struct Waiting<T>(watch::Receiver<Option<T>>);

/// The duty to answer. Who drops it instead has given the question up.
#[derive(Debug)]
pub(crate) struct Duty<T> {
    under_way: UnderWay<T>,
    key: String,
    sender: watch::Sender<Option<T>>,
}

impl<T: Clone> SingleFlight<T> {
    /// Asks. The duty falls to whoever asks first, and to nobody else while that question is under way.
    pub(crate) fn ask(&self, key: &str) -> (Waiting<T>, Option<Duty<T>>) {
        let mut under_way = lock(&self.0);
        if let Some(receiver) = under_way.get(key) {
            return (Waiting(receiver.clone()), None);
        }
        let (sender, receiver) = watch::channel(None);
        under_way.insert(key.to_owned(), receiver.clone());
        let duty = Duty {
            under_way: Arc::clone(&self.0),
            key: key.to_owned(),
            sender,
        };
        (Waiting(receiver), Some(duty))
    }

    /// Returns the answer to come to a question that is under way.
    pub(crate) fn under_way(&self, key: &str) -> Option<Waiting<T>> {
        lock(&self.0).get(key).cloned().map(Waiting)
    }
}

impl<T: Clone> Waiting<T> {
    /// Waits for the answer. None: the question was given up.
    pub(crate) async fn answer(mut self) -> Option<T> {
        let told = self.0.wait_for(Option::is_some).await;
        told.ok().and_then(|told| told.clone())
    }
}

impl<T> Duty<T> {
    /// Answers. Who asks from now on asks anew.
    pub(crate) fn answer(self, answer: T) {
        // Before anybody is told: who was may ask again at once.
        lock(&self.under_way).remove(&self.key);
        self.sender.send_replace(Some(answer));
    }
}

impl<T> Drop for Duty<T> {
    fn drop(&mut self) {
        // Where it was answered, the next question may be there already.
        if self.sender.borrow().is_none() {
            lock(&self.under_way).remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests;
