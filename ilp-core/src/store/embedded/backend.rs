//! A medium, as the database below wants to see it; what goes by is counted.

use super::metrics::Counters;
use crate::store::Medium;
use std::io;
use std::sync::Arc;
use std::time::Instant;

#[derive(Debug)]
pub(super) struct Backend {
    pub(super) medium: Arc<dyn Medium>,
    pub(super) counters: Arc<Counters>,
}

impl redb::StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.medium.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.medium.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.medium.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let begun = Instant::now();
        let result = self.medium.sync();
        self.counters.synced(begun.elapsed());
        result
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.counters.written(data.len());
        self.medium.write(offset, data)
    }
}
