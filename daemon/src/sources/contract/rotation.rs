//! Every way in which logs are rotated, with the daemon up and down: no record lost, none twice.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::log::{Log, STYLES, Style};
use super::{FORMS, Form, Phase, Reader, Scratch, Store, write};

#[test]
fn no_rotation_loses_or_doubles_a_record_while_it_is_watched() {
    for form in FORMS {
        for style in STYLES {
            for pending in [false, true] {
                let dir = Scratch::new();
                let mut log = Log::new(form, &dir, style);
                log.write(5);
                let mut reader = Reader::open(form, &log.path, &Store::default());
                reader.read(5);
                for _ in 0..3 {
                    log.write(4);
                    if !pending {
                        reader.read(log.next as usize);
                    }
                    // A file that came and went, or lost its name, before anybody looked cannot be known.
                    if matches!(style, Style::DeleteRecreate | Style::SymlinkSwitch) {
                        reader.step(Duration::ZERO);
                    }
                    log.rotate(style);
                    log.write(3);
                    if style == Style::WriterKeepsOld {
                        log.write_to_old(2);
                        reader.read(log.next as usize);
                        log.write(1);
                        log.write_to_old(2);
                    }
                }
                reader.read(log.next as usize);
                log.is_all(&reader, &format!("{style:?}, pending {pending}"));
                assert!(reader.phases[5..].iter().all(|phase| *phase == Phase::Live), "{style:?}");
            }
        }
    }
}

#[test]
fn no_rotation_while_down_loses_or_doubles_a_record() {
    for form in FORMS {
        for style in STYLES {
            for pending in [false, true] {
                // What is deleted unread is gone.
                if style == Style::DeleteRecreate && pending {
                    continue;
                }
                for rotations in [1, 2, 3] {
                    let dir = Scratch::new();
                    let mut log = Log::new(form, &dir, style);
                    log.write(5);
                    let mut reader = Reader::open(form, &log.path, &Store::default());
                    reader.read(5);
                    let store = reader.store.clone();
                    let numbers = reader.numbers;
                    drop(reader.source);
                    if pending {
                        log.write(4);
                    }
                    for rotation in 0..rotations {
                        log.rotate(style);
                        if style == Style::WriterKeepsOld {
                            log.write_to_old(2);
                        }
                        let between = !matches!(style, Style::DeleteRecreate | Style::SymlinkSwitch);
                        if between || rotation + 1 == rotations {
                            log.write(3);
                        }
                    }
                    let context = format!("{style:?}, pending {pending}, {rotations} rotations");
                    let mut reader = Reader::open(form, &log.path, &store);
                    let caught_up = log.next;
                    reader.numbers = numbers;
                    reader.drain();
                    log.is_all(&reader, &context);
                    let old: Vec<u32> = reader.numbers.clone();
                    if style != Style::WriterKeepsOld {
                        assert!(old.is_sorted(), "{context}: out of order {old:?}");
                    }
                    assert!(reader.phases.iter().all(|phase| *phase == Phase::CatchUp), "{context}");
                    log.write(2);
                    reader.read(caught_up as usize + 2);
                    assert_eq!(reader.phases.last(), Some(&Phase::Live), "{context}");
                }
            }
        }
    }
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

#[test]
fn any_order_of_writes_rotations_reads_and_restarts_gives_each_record_once() {
    let styles = [
        Style::RenameCreate,
        Style::RenameDated,
        Style::RenameGzip,
        Style::CopyTruncate,
        Style::CopyTruncateGzip,
        Style::WriterKeepsOld,
    ];
    for seed in 0..120 {
        let mut dice = Dice(seed);
        let form = FORMS[dice.below(2) as usize];
        let style = styles[dice.below(6) as usize];
        let dir = Scratch::new();
        let mut log = Log::new(form, &dir, style);
        let mut reader = Reader::open(form, &log.path, &Store::default());
        reader.drain();
        let mut story = Vec::new();
        for _ in 0..60 {
            let step = dice.below(10);
            story.push(step);
            match step {
                0..=3 => log.write(1 + dice.below(4) as u32),
                4 if style == Style::WriterKeepsOld => log.write_to_old(1),
                4 | 5 => {
                    // As logrotate's notifempty.
                    if fs::metadata(&log.path).unwrap().len() > 0 && log.rotations < 18 {
                        log.rotate(style);
                    }
                }
                6..=8 => reader.drain(),
                _ => {
                    let (store, numbers) = (reader.store.clone(), std::mem::take(&mut reader.numbers));
                    drop(reader);
                    // While it is down something else may happen.
                    for _ in 0..dice.below(3) {
                        log.write(1 + dice.below(3) as u32);
                        if dice.below(2) == 0 && log.rotations < 18 {
                            log.rotate(style);
                            story.push(100);
                        }
                    }
                    reader = Reader::open(form, &log.path, &store);
                    reader.numbers = numbers;
                }
            }
        }
        reader.drain();
        log.is_all(&reader, &format!("seed {seed} {style:?} {story:?}"));
    }
}

#[test]
fn a_look_between_any_two_steps_of_a_rotation_loses_and_doubles_nothing() {
    for seed in 0..150 {
        let mut dice = Dice(seed);
        let form = FORMS[dice.below(2) as usize];
        let style = STYLES[dice.below(STYLES.len() as u64) as usize];
        let dir = Scratch::new();
        let mut log = Log::new(form, &dir, style);
        let mut reader = Reader::open(form, &log.path, &Store::default());
        reader.drain();
        let mut story = Vec::new();
        for _ in 0..6 {
            log.write(3 + dice.below(4) as u32);
            // Whatever is deleted before anybody opened it is gone.
            if matches!(style, Style::DeleteRecreate | Style::SymlinkSwitch) || dice.below(2) == 0 {
                reader.drain();
            }
            log.rotate_by_steps(style, &mut |log| {
                let what = dice.below(4);
                story.push(what);
                if dice.below(2) == 0 {
                    log.wait_for_next_tick();
                }
                if what == 0 && log.may_write {
                    log.write(1 + dice.below(3) as u32);
                }
                if what < 3 {
                    reader.drain();
                }
            });
            story.push(9);
        }
        log.write(1);
        reader.drain();
        log.is_all(&reader, &format!("seed {seed} {style:?} {story:?}"));
    }
}

#[test]
fn a_busy_writer_and_a_rotation_at_the_same_time_lose_nothing() {
    for form in FORMS {
        for style in STYLES {
            let unseen_is_lost = matches!(style, Style::DeleteRecreate | Style::SymlinkSwitch);
            let dir = Scratch::new();
            let mut log = Log::new(form, &dir, style);
            let mut reader = Reader::open(form, &log.path, &Store::default());
            reader.drain();
            let seen = Arc::new(AtomicUsize::new(0));
            let seen_by_writer = seen.clone();
            let writer = std::thread::spawn(move || {
                for round in 0..12 {
                    // Whatever is deleted before anybody opened it is gone.
                    let begin = log.next as usize;
                    log.write(1);
                    while unseen_is_lost && seen_by_writer.load(Ordering::Acquire) <= begin {
                        std::thread::yield_now();
                    }
                    for _ in 0..100 {
                        log.write(3);
                        if style == Style::WriterKeepsOld && round > 0 && round % 2 == 0 {
                            log.write_to_old(1);
                        }
                    }
                    log.rotate(style);
                }
                log.write(1);
                log
            });
            while !writer.is_finished() {
                reader.step(Duration::from_millis(5));
                seen.store(reader.numbers.len(), Ordering::Release);
            }
            let log = writer.join().unwrap();
            let deadline = Instant::now() + Duration::from_secs(10);
            while reader.numbers.len() < log.next as usize && Instant::now() < deadline {
                reader.step(Duration::from_millis(50));
            }
            reader.drain();
            log.is_all(&reader, &format!("{style:?}"));
        }
    }
}

#[test]
fn a_packed_part_that_was_read_once_is_not_read_again_when_the_log_begins() {
    for form in FORMS {
        let dir = Scratch::new();
        let mut log = Log::new(form, &dir, Style::CopyTruncateGzip);
        log.write(40);
        let mut reader = Reader::open(form, &log.path, &Store::default());
        reader.read(40);
        // Two rotations, of which only what they leave behind is seen: the second part was never read.
        log.rotate(Style::CopyTruncateGzip);
        log.write(40);
        log.rotate(Style::CopyTruncateGzip);
        // The reader asked for the log's time before the second rotation, and listed its parts after it.
        let before = std::time::SystemTime::now() - Duration::from_secs(60);
        File::options().write(true).open(&log.path).unwrap().set_modified(before).unwrap();
        reader.read(80);
        log.write(40);
        reader.read(120);
        reader.drain();
        log.is_all(&reader, "the log begins after its part was read");
    }
}

#[test]
fn rotated_names_that_match_the_same_pattern_are_not_read_twice() {
    for style in [Style::RenameDated, Style::RenameCreate, Style::CopyTruncate] {
        let dir = Scratch::new();
        let mut log = Log::new(Form::Lines, &dir, style);
        log.write(5);
        let pattern = dir.path("auth.log*");
        let mut reader = Reader::open(Form::Lines, &pattern, &Store::default());
        reader.read(5);
        for _ in 0..3 {
            log.write(4);
            log.rotate(style);
            log.write(3);
            reader.read(log.next as usize);
        }
        let (store, numbers) = (reader.store.clone(), std::mem::take(&mut reader.numbers));
        drop(reader);
        log.write(2);
        let mut reader = Reader::open(Form::Lines, &pattern, &store);
        reader.numbers = numbers;
        reader.read(log.next as usize);
        log.is_all(&reader, &format!("{style:?}"));
    }
}

#[test]
fn a_writer_that_goes_on_at_its_old_offset_after_a_truncation_leaves_no_line_behind() {
    let dir = Scratch::new();
    let path = dir.path("auth.log");
    let mut file = File::create(&path).unwrap();
    write(Form::Lines, &mut file, 0..1000);
    let mut reader = Reader::open(Form::Lines, &path, &Store::default());
    reader.read(1000);
    OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
    reader.drain();
    write(Form::Lines, &mut file, 1000..1010);
    reader.read(1010);
    OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
    write(Form::Lines, &mut file, 1010..1020);
    reader.read(1020);
    file.flush().unwrap();
    assert!(reader.numbers.iter().copied().eq(0..1020));
}
