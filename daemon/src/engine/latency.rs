//! How long an attacker goes on after the line that convicts was read: until the kernel has the ban, and until the ban
//! is durable.
//!
//! The engine drives it: [`Latency::judged`] for each batch, [`Latency::sent`] once the effects of the round have left,
//! and then [`Way::arrived`] or [`Way::failed`] with the answers. Source and both threads behind the engine read the
//! clock themselves, so what waits in a channel is part of it. Bans by hand, of lines that were written while the
//! daemon was down, and of those that wait for a name or a command have no line that was just read: they are not counted.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use pillory_core::ledger::Change;
use pillory_core::machine::{Effect, Record};
use serde_json::{Map, Value, json};

use crate::sources::{Batch, Phase};

/// Powers of two of a microsecond: bucket `n` holds what took less than 2^n, the last one all that took 4.2 s or longer.
const BUCKETS: usize = 24;

/// So many batches with bans may be on their way; of those beyond nothing is measured, as while a disk hangs.
const MOST_UNDER_WAY: usize = 1_024;

/// Both ways of a ban.
#[derive(Debug, Default)]
pub(super) struct Latency {
    /// Into the kernel.
    pub(super) kernel: Way,
    /// Onto the disk.
    pub(super) durable: Way,
}

impl Latency {
    /// A batch was judged, to these effects.
    pub(super) fn judged(&mut self, batch: &Batch, effects: &[Effect]) {
        if batch.phase != Phase::Live || effects.is_empty() {
            return;
        }
        let count = |is_ban: fn(&&Effect) -> bool| effects.iter().filter(is_ban).count() as u64;
        let in_kernel = count(|effect| matches!(effect, Effect::Kernel(Change::Set(..))));
        let recorded = count(|effect| matches!(effect, Effect::Record(Record::Banned(_))));
        self.kernel.judged(batch.read_at, in_kernel);
        self.durable.judged(batch.read_at, recorded);
    }

    /// All effects have left, the last in the kernel's job and the store's write of these numbers.
    pub(super) fn sent(&mut self, job: u64, write: u64) {
        self.kernel.sent(job);
        self.durable.sent(write);
    }

    /// As `status --json` shows it.
    pub(super) fn value(&self) -> Value {
        let mut fields = Map::new();
        self.kernel.taken.tell("kernel", &mut fields);
        self.durable.taken.tell("durable", &mut fields);
        Value::Object(fields)
    }
}

/// One way of a ban, and how long it took.
#[derive(Debug, Default)]
pub(super) struct Way {
    taken: Histogram,
    under_way: VecDeque<Bans>,
    /// The last so many of them have no number yet.
    unsent: usize,
}

/// Bans that lines read together led to.
#[derive(Debug)]
struct Bans {
    read_at: Instant,
    count: u64,
    /// Of the job or write that they are part of.
    number: u64,
}

impl Way {
    fn judged(&mut self, read_at: Instant, count: u64) {
        if count > 0 && self.under_way.len() < MOST_UNDER_WAY {
            self.under_way.push_back(Bans { read_at, count, number: u64::MAX });
            self.unsent += 1;
        }
    }

    fn sent(&mut self, number: u64) {
        self.under_way.iter_mut().rev().take(self.unsent).for_each(|bans| bans.number = number);
        self.unsent = 0;
    }

    /// All up to this number were there at this time.
    pub(super) fn arrived(&mut self, number: u64, at: Instant) {
        while let Some(bans) = self.under_way.pop_front_if(|bans| bans.number <= number) {
            self.taken.add(at.saturating_duration_since(bans.read_at), bans.count);
        }
    }

    /// Something up to this number was refused; when it will be there cannot be told.
    pub(super) fn failed(&mut self, number: u64) {
        while self.under_way.pop_front_if(|bans| bans.number <= number).is_some() {}
    }
}

/// How often something took how long.
#[derive(Debug, Default)]
struct Histogram {
    buckets: [u64; BUCKETS],
    longest_us: u64,
    /// Of all together.
    sum_us: u64,
}

impl Histogram {
    fn add(&mut self, took: Duration, times: u64) {
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.longest_us = self.longest_us.max(took_us);
        self.sum_us = self.sum_us.saturating_add(took_us.saturating_mul(times));
        let bits = (u64::BITS - took_us.leading_zeros()) as usize;
        if let Some(bucket) = self.buckets.get_mut(bits.min(BUCKETS - 1)) {
            *bucket += times;
        }
    }

    fn total(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// What so many hundredths did not exceed, as if those of a bucket were spread evenly over it; nothing of none.
    fn percentile_us(&self, hundredths: u64) -> Option<f64> {
        let rank = (self.total() * hundredths).div_ceil(100);
        let mut below = 0;
        for (bucket, &times) in self.buckets.iter().enumerate() {
            if times > 0 && below + times >= rank {
                let from = if bucket == 0 { 0 } else { 1 << (bucket - 1) };
                let to = if bucket == BUCKETS - 1 { self.longest_us } else { bound_us(bucket) };
                let to = to.min(self.longest_us).max(from);
                let share = (rank - below) as f64 / times as f64;
                return Some(from as f64 + (to - from) as f64 * share);
            }
            below += times;
        }
        None
    }

    fn tell(&self, name: &str, fields: &mut Map<String, Value>) {
        let ms = |us: f64| us.round() / 1_000.0;
        let longest = (self.total() > 0).then_some(self.longest_us as f64);
        let is_used = |(_, times): &(usize, &u64)| **times > 0;
        let bucket = |(bucket, times): (usize, &u64)| json!({"below_us": (bucket < BUCKETS - 1).then(|| bound_us(bucket)), "bans": times});
        let used: Vec<Value> = self.buckets.iter().enumerate().filter(is_used).map(bucket).collect();
        fields.insert(format!("{name}_bans"), json!(self.total()));
        fields.insert(format!("{name}_p50_ms"), json!(self.percentile_us(50).map(ms)));
        fields.insert(format!("{name}_p99_ms"), json!(self.percentile_us(99).map(ms)));
        fields.insert(format!("{name}_max_ms"), json!(longest.map(ms)));
        fields.insert(format!("{name}_sum_ms"), json!(ms(self.sum_us as f64)));
        fields.insert(format!("{name}_buckets"), json!(used));
    }
}

/// What all in a bucket, but for the last one, took less than.
fn bound_us(bucket: usize) -> u64 {
    1 << bucket
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const MS: Duration = Duration::from_millis(1);

    fn histogram(took_us: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        took_us.iter().for_each(|us| histogram.add(Duration::from_micros(*us), 1));
        histogram
    }

    #[test]
    fn each_duration_is_in_the_bucket_of_its_power_of_two() {
        for (took_us, bucket) in [(0, 0), (1, 1), (2, 2), (3, 2), (511, 9), (512, 10), (4_194_303, 22)] {
            assert_eq!(histogram(&[took_us]).buckets[bucket], 1, "{took_us}");
        }
        for took in [Duration::from_micros(1 << 22), Duration::from_secs(3_600), Duration::MAX] {
            let mut histogram = Histogram::default();
            histogram.add(took, 1);
            assert_eq!(histogram.buckets[BUCKETS - 1], 1, "{took:?}");
        }
    }

    #[test]
    fn percentiles_lie_in_the_bucket_of_the_one_they_name_and_never_above_the_longest() {
        let mut took_us = [300; 100];
        took_us[98..].fill(9_000);
        let histogram = histogram(&took_us);
        let p50 = histogram.percentile_us(50).unwrap();
        assert!((256.0..512.0).contains(&p50), "{p50}");
        let p99 = histogram.percentile_us(99).unwrap();
        assert!((8_192.0..=9_000.0).contains(&p99), "{p99}");
        assert_eq!(histogram.percentile_us(100), Some(9_000.0));
    }

    #[test]
    fn of_no_ban_nothing_is_told_but_that() {
        let value = Latency::default().value();
        assert_eq!(value["kernel_bans"], 0);
        assert!(value["kernel_p50_ms"].is_null() && value["durable_max_ms"].is_null());
        assert_eq!(value["kernel_buckets"], json!([]));
    }

    #[test]
    fn what_took_longer_than_all_buckets_has_one_without_a_bound() {
        let mut fields = Map::new();
        histogram(&[5_000_000]).tell("kernel", &mut fields);
        assert_eq!(fields["kernel_buckets"], json!([{"below_us": null, "bans": 1}]));
        assert_eq!(fields["kernel_p50_ms"], json!(5_000.0));
    }

    #[test]
    fn bans_are_counted_once_the_job_that_holds_them_has_come_back_and_never_if_it_failed() {
        let read_at = clock::instant();
        let mut way = Way::default();
        way.judged(read_at, 2);
        way.sent(7);
        way.judged(read_at, 3);
        way.arrived(6, read_at + MS);
        assert_eq!(way.taken.total(), 0);
        way.arrived(7, read_at + 3 * MS);
        assert_eq!((way.taken.total(), way.taken.longest_us), (2, 3_000));
        way.sent(8);
        way.failed(8);
        way.arrived(9, read_at + 4 * MS);
        assert_eq!(way.taken.total(), 2);
        assert!(way.under_way.is_empty());
    }

    #[test]
    fn while_nothing_comes_back_no_more_is_kept_than_there_is_room_for() {
        let read_at = clock::instant();
        let mut way = Way::default();
        for number in 0..2 * MOST_UNDER_WAY as u64 {
            way.judged(read_at, 1);
            way.sent(number);
        }
        assert_eq!(way.under_way.len(), MOST_UNDER_WAY);
    }
}
