//! The suite passes on our own stores.

use crate::support::Dir;
use async_trait::async_trait;
use futures::executor::block_on;
use ilp_core::conformance::{self, PowerLoss, Subject, SubjectError, VolatileMedium};
use ilp_core::store::{BalanceStore, EmbeddedStore, FileMedium, Medium, MemoryMedium, MemoryStore};
use std::path::PathBuf;
use std::sync::Arc;

struct InMemory;

#[async_trait]
impl Subject for InMemory {
    async fn fresh(&mut self) -> Result<Arc<dyn BalanceStore>, SubjectError> {
        Ok(Arc::new(MemoryStore::new()))
    }

    async fn crash(&mut self, store: Arc<dyn BalanceStore>) -> Result<Arc<dyn BalanceStore>, SubjectError> {
        Ok(store)
    }
}

/// In a directory; a crash is no more than closing it.
struct InDirectory {
    dir: Dir,
    stores: u32,
}

impl InDirectory {
    fn path(&self) -> PathBuf {
        self.dir.join(&format!("books-{}", self.stores))
    }
}

#[async_trait]
impl Subject for InDirectory {
    async fn fresh(&mut self) -> Result<Arc<dyn BalanceStore>, SubjectError> {
        self.stores += 1;
        Ok(Arc::new(EmbeddedStore::open(&self.path())?))
    }

    async fn crash(&mut self, store: Arc<dyn BalanceStore>) -> Result<Arc<dyn BalanceStore>, SubjectError> {
        drop(store);
        Ok(Arc::new(EmbeddedStore::open(&self.path())?))
    }
}

/// On a medium that loses its power.
pub(crate) struct Powerless<F> {
    below: Arc<dyn Medium>,
    medium: Arc<VolatileMedium>,
    how: PowerLoss,
    seed: u64,
    make: F,
}

impl<F: FnMut() -> Arc<dyn Medium>> Powerless<F> {
    pub(crate) fn new(how: PowerLoss, seed: u64, mut make: F) -> Self {
        let below = make();
        Self { medium: Arc::new(VolatileMedium::new(below.clone())), below, how, seed, make }
    }

    fn open(&mut self) -> Result<Arc<dyn BalanceStore>, SubjectError> {
        self.medium = Arc::new(VolatileMedium::new(self.below.clone()));
        Ok(Arc::new(EmbeddedStore::open_on(self.medium.clone())?))
    }
}

#[async_trait]
impl<F: FnMut() -> Arc<dyn Medium> + Send + Sync> Subject for Powerless<F> {
    async fn fresh(&mut self) -> Result<Arc<dyn BalanceStore>, SubjectError> {
        self.below = (self.make)();
        self.open()
    }

    async fn crash(&mut self, store: Arc<dyn BalanceStore>) -> Result<Arc<dyn BalanceStore>, SubjectError> {
        self.seed += 1;
        // In the middle of what it is doing.
        self.medium.lose_power(self.seed, self.how)?;
        drop(store);
        self.open()
    }
}

fn passes(mut subject: impl Subject) {
    let report = block_on(conformance::run(&mut subject));
    assert!(report.passed(), "{report}");
    assert_eq!(report.cases.len(), conformance::case_names().count());
}

fn memory() -> Arc<dyn Medium> {
    Arc::new(MemoryMedium::new())
}

#[test]
fn memory_store() {
    passes(InMemory);
}

#[test]
fn embedded_in_a_directory() {
    passes(InDirectory { dir: Dir::new(), stores: 0 });
}

#[test]
fn embedded_on_a_medium_that_forgets() {
    passes(Powerless::new(PowerLoss::Forgotten, 0, memory));
}

#[test]
fn embedded_on_a_medium_that_tears() {
    for seed in [1, 1_000] {
        passes(Powerless::new(PowerLoss::Torn, seed, memory));
    }
}

#[test]
fn embedded_on_a_file_that_tears() {
    let dir = Dir::new();
    let mut files = 0;
    let make = move || -> Arc<dyn Medium> {
        files += 1;
        Arc::new(FileMedium::create(&dir.join(&format!("file-{files}"))).unwrap())
    };
    passes(Powerless::new(PowerLoss::Torn, 7, make));
}
