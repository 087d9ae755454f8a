//! A log that is slow, refuses, or hangs.

use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;

const SOON: Duration = Duration::from_secs(20);

/// A log that takes a line when it is let, with what became of it.
struct Gate {
    open: Receiver<std::io::Result<()>>,
    written: Sender<String>,
}

impl Write for Gate {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.open.recv().unwrap_or(Ok(()))?;
        let _ = self.written.send(String::from_utf8_lossy(line).into_owned());
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn line(text: &str) -> Line {
    Line::Log(text.as_bytes().to_vec())
}

/// A queue and its thread: how each write ends is sent to the first, what is written comes from the second.
fn running() -> (&'static Queue, Sender<std::io::Result<()>>, Receiver<String>) {
    let queue: &'static Queue = Box::leak(Box::new(Queue::new()));
    let (opens, open) = channel();
    let (written, lines) = channel();
    let number = queue.hire();
    std::thread::spawn(move || {
        let say_lost = |lost| drop(queue.push(line(&format!("{lost} lost\n"))));
        queue.work(number, &mut Gate { open, written }, &say_lost);
    });
    (queue, opens, lines)
}

/// Waits until the thread is about to write all that was queued.
fn until_taken(queue: &Queue) {
    while !queue.state().lines.is_empty() {
        std::thread::yield_now();
    }
}

fn full() -> std::io::Result<()> {
    Err(std::io::Error::from(std::io::ErrorKind::StorageFull))
}

#[test]
fn without_a_thread_a_line_is_given_back() {
    assert!(Queue::new().push(line("one")).is_some());
}

#[test]
fn lines_are_written_in_their_order_and_waited_for_at_the_end() {
    let (queue, opens, lines) = running();
    drop(opens);
    (0..1000).for_each(|n| assert!(queue.push(line(&n.to_string())).is_none()));
    queue.finish(SOON);
    let written: String = lines.try_iter().collect();
    assert_eq!(written, (0..1000).map(|n| n.to_string()).collect::<String>());
    assert_eq!(queue.trouble(), None);
}

#[test]
fn lines_that_wait_are_written_together_as_far_as_a_pipe_takes_them_whole() {
    let (queue, opens, lines) = running();
    let text = |n: usize| format!("{n:0>99}\n");
    drop(queue.push(line(&text(0))));
    until_taken(queue);
    (1..100).for_each(|n| drop(queue.push(line(&text(n)))));
    drop(opens);
    queue.finish(SOON);
    let written: Vec<String> = lines.try_iter().collect();
    let sizes: Vec<usize> = written.iter().map(String::len).collect();
    assert_eq!(sizes, [100, 4_000, 4_000, 1_900]);
    assert_eq!(written.concat(), (0..100).map(text).collect::<String>());
    assert_eq!(queue.state().bytes, 0);
}

#[test]
fn a_log_that_hangs_takes_no_memory_without_a_limit_and_says_how_many_lines_it_lost() {
    let (queue, opens, lines) = running();
    let long = "x".repeat(100_000);
    (0..100).for_each(|_| drop(queue.push(line(&long))));
    let waiting = queue.state().lines.len();
    assert!(waiting < 43 && queue.state().bytes <= MOST_BYTES, "{waiting}");
    let said = queue.trouble().unwrap_or_default();
    assert!(said.contains("nobody reads the log") && said.contains("are lost so far"), "{said}");
    // Nor is the end waited for.
    let began = Stopwatch::start();
    queue.finish(Duration::from_millis(50));
    assert!(began.elapsed() < SOON);
    drop(opens);
    queue.finish(SOON);
    let written: Vec<String> = lines.try_iter().collect();
    assert_eq!(written.last(), Some(&format!("{} lost\n", 100 - (written.len() - 1))));
    assert_eq!(queue.trouble(), None);
    assert!(queue.push(line("more")).is_none());
    queue.finish(SOON);
    assert_eq!(lines.try_iter().collect::<Vec<_>>(), ["more"]);
}

#[test]
fn lines_that_the_system_refuses_are_counted_and_told_once_it_takes_some() {
    let (queue, opens, lines) = running();
    opens.send(Ok(())).unwrap();
    drop(queue.push(line("0")));
    queue.finish(SOON);
    drop(queue.push(line("1")));
    until_taken(queue);
    // Those that wait meanwhile are one write.
    ["2", "3"].into_iter().for_each(|text| drop(queue.push(line(text))));
    [full(), full()].into_iter().for_each(|ends| opens.send(ends).unwrap());
    queue.finish(SOON);
    let said = queue.trouble().unwrap_or_default();
    assert!(
        said.starts_with("the log cannot be written: ") && said.ends_with("3 lines are lost so far"),
        "{said}"
    );
    drop(opens);
    drop(queue.push(line("4")));
    queue.finish(SOON);
    // What was refused may have been written in part.
    assert_eq!(lines.try_iter().collect::<Vec<_>>(), ["0", "\n", "4", "3 lost\n"]);
    assert_eq!(queue.trouble(), None);
}

#[test]
fn a_new_thread_goes_on_where_the_old_one_stops() {
    let (queue, opens, lines) = running();
    opens.send(Ok(())).unwrap();
    drop(queue.push(line("old")));
    assert_eq!(lines.recv_timeout(SOON).as_deref(), Ok("old"));
    let number = queue.hire();
    let (written, news) = channel();
    let (_opens, open) = channel();
    drop(_opens);
    std::thread::spawn(move || queue.work(number, &mut Gate { open, written }, &|_| ()));
    drop(queue.push(line("new")));
    queue.finish(SOON);
    assert_eq!(news.try_iter().collect::<Vec<_>>(), ["new"]);
    // The old one has ended, and its log with it.
    assert!(lines.recv_timeout(SOON).is_err());
    drop(opens);
}
