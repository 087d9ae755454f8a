//! What this machine takes to wake a thread, whatever it does then: no program is faster.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::table::Spread;

/// What waking a thread takes.
#[derive(Debug)]
pub struct Woken {
    /// From the write to the reader's next instruction.
    pub after: Spread,
    /// The scheduler's count for each.
    pub cpu: Duration,
}

/// A thread that sleeps in a read is woken so often, each time after such a pause.
pub fn wake_ups(count: u32, pause: Duration) -> Woken {
    let (mut asks, mut sleeps) = UnixStream::pair().expect("two ends");
    let reader = std::thread::spawn(move || {
        let own = || {
            let text =
                std::fs::read_to_string("/proc/thread-self/schedstat").expect("the kernel keeps count");
            text.split_whitespace().next().and_then(|nanos| nanos.parse().ok()).expect("nanoseconds")
        };
        let (before, mut woken, mut byte): (u64, _, _) = (own(), Vec::new(), [0]);
        while sleeps.read(&mut byte).expect("it is open") == 1 {
            woken.push(Instant::now());
        }
        (woken, Duration::from_nanos(own() - before))
    });
    let mut asked = Vec::new();
    for _ in 0..count {
        std::thread::sleep(pause);
        asked.push(Instant::now());
        asks.write_all(&[0]).expect("it is open");
    }
    std::thread::sleep(pause);
    drop(asks);
    let (woken, cpu) = reader.join().expect("it ends");
    Woken {
        after: Spread::new(woken.iter().zip(&asked).map(|(woken, asked)| *woken - *asked).collect()),
        cpu: cpu / count,
    }
}
