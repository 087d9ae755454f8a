//! The threads of a daemon: what each owns, which rights it keeps, and in which order they start and end.
//!
//! A thread takes over the capabilities of the one that starts it. Only the kernel's needs one, so it is started first, and
//! every other gives them up.

use std::net::TcpListener;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Scope;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use tracing::{info, warn};

use pillory_core::config::OnStop;
use pillory_core::machine::Machine;

use crate::actions::dryrun;
use crate::actions::{Action, Restriction};
use crate::allowed::Allowed;
use crate::clock::SetNotice;
use crate::control::server::{Desk, Order, Server};
use crate::engine::jails::{Facts, Readers};
use crate::engine::rescue::META_RESCUE;
use crate::engine::trial::Found;
use crate::engine::{Engine, Input, Outlets, Read};
use crate::guard::Held;
use crate::kernel::{self, Hand, Job};
use crate::learn::Learner;
use crate::netlink::{KernelWatch, Seen};
use crate::outgoing::poster::{self, MOST_WAITING};
use crate::outgoing::{Delivery, Post};
use crate::outputs::publisher::{self, PageOrder};
use crate::outputs::wall;
use crate::privilege::{Needs, Sandbox, shed};
use crate::store::keeper::Started;
use crate::store::writer;
use crate::supervisor::{self, SourceOrder};
use crate::wake::{Wake, wait_readable};
use crate::web::Door;
use crate::{errands, facts, lookout, rescue};

use super::begin::{self, Restored};
use super::run::{Setup, refused, start_log_thread};
use super::status::First;
use super::{Failure, Outcome, exit};

/// So many batches wait for the engine; with what is known of its lines one takes some 400 KB.
const READS: usize = 4;

/// Everything that gets a thread.
pub(super) struct Threads {
    pub(super) server: Server,
    pub(super) store: Started,
    pub(super) action: Box<dyn Action>,
    /// Where commands are taken.
    pub(super) control: PathBuf,
    pub(super) state_dir: PathBuf,
    /// The namespace, if it is held.
    pub(super) guard: Option<Held>,
    pub(super) facts: (facts::Reader, facts::Asker),
    /// Who was allowed, what the host knows, and who may connect where.
    pub(super) known: (Allowed, Facts, Vec<Restriction>),
    /// Only at a first start.
    pub(super) learner: Option<Learner>,
    /// Only where somebody looks on.
    pub(super) first: Option<First>,
}

impl Threads {
    /// Runs until told to stop. `restored`: what was taken over, what is to be said of what could not be, and whether the
    /// kernel's points are yet to be looked at.
    pub(super) fn run(
        self,
        machine: Machine,
        readers: Readers,
        setup: Setup,
        (restored, lost, is_unseen, trial): (Restored, Option<String>, bool, Found),
    ) -> Outcome {
        let Threads { server, mut store, action, control, known, .. } = self;
        let (facts_reader, asker) = self.facts;
        let (reads_in, reads) = bounded::<Read>(READS);
        let (inputs_in, inputs) = unbounded::<Input>();
        let ((jobs_in, jobs), (writes_in, writes)) = (unbounded(), unbounded());
        let stop = Arc::new(AtomicBool::new(false));
        let no_wake = |error| Failure::new(exit::NO, format!("cannot make an eventfd: {error}"));
        let wake = Wake::new().map_err(no_wake)?;
        let start = SourceOrder::Start(readers.feeds.clone(), restored.positions.clone());
        let (sources_in, source_orders) = unbounded();
        let frame = (readers.ports.clone(), known.2.clone());
        let (name, lift) = (action.name(), setup.on_stop == OnStop::Lift);
        let told = (action.watch().map_err(|error| refused(&error))?, SetNotice::new());
        let (errands, desks) = errands::desk();
        let (editions, ordered) = unbounded();
        let (lookout, looked) = unbounded();
        let (posts, put_out) = posting(&setup.delivery, &self.state_dir);
        let asked = jobs_in.clone();
        let outlets = Outlets {
            kernel: jobs_in,
            store: writes_in,
            facts: asker,
            sources: sources_in,
            errands,
            editions,
            lookout,
            posts,
        };
        let needs = needs_of(&setup, &readers, name, [Some(&self.state_dir), control.parent()]);
        let (wanted, on_trial) = (setup.config.sandbox, matches!(trial, Found::GoesOn(_)));
        let outside = setup.outside.clone();
        let mut engine = Engine::new(machine, readers, outlets, name, setup);
        engine.take_kept(restored.unlisted, restored.rhythms.as_deref());
        engine.resume(restored.off, restored.positions, start, known);
        engine.begin_dry(begin::left_in_kernel(name));
        engine.begin_trial(trial);
        let callers = (engine.begin_rescue(store.meta(META_RESCUE).as_deref()), engine.begin_web());
        let go = engine.begin_learning(restored.learning);
        engine.begin_store(&store, restored.anew, lost);
        engine.begin_unseen(is_unseen);
        let writer = store.into_writer();
        // Everything is open, and all threads are yet to be started.
        engine.sandbox = Sandbox::enter(wanted, on_trial, &needs);
        start_log_thread()?;
        std::thread::scope(|scope| {
            // It alone keeps the right to change the network, and is the first to start.
            scope.spawn(acting(&inputs_in, Hand::cutting(action, frame), jobs, lift));
            shed();
            engine.start_hooks();
            engine.say_restored();
            answer_outside(self.guard, &inputs_in)?;
            let stored = telling(&inputs_in, Input::Store);
            scope.spawn(shedding(move || writer::run(writer, &writes, stored)));
            let (orders_in, forward_orders) = forwarding(&inputs_in);
            scope.spawn(shedding(forward_orders));
            let (state_dir, reviews) = (self.state_dir.clone(), Arc::default());
            let desk = Desk { orders: orders_in, kernel: asked, state_dir, reviews };
            hear_callers(scope, callers, (&inputs_in, &desk), &wake);
            let stop_serving = Arc::clone(&stop);
            scope.spawn(shedding(move || server.run(&desk, &stop_serving)));
            scope.spawn(shedding(|| facts_reader.watch(&inputs_in, &wake)));
            scope.spawn(shedding(|| hear_kernel(told, &inputs_in, &wake)));
            scope.spawn(shedding(move || supervisor::run(&source_orders, &reads_in)));
            put_out.into_iter().for_each(|work| drop(scope.spawn(shedding(work))));
            scope.spawn(shedding(publishing(&inputs_in, self.state_dir, ordered, Arc::clone(&stop))));
            let seen = telling(&inputs_in, Input::Seen);
            scope.spawn(shedding(move || lookout::run(&looked, seen)));
            let (names, asks) = desks.split(&inputs_in, outside);
            scope.spawn(shedding(names));
            scope.spawn(shedding(asks));
            if let Some(learner) = self.learner {
                scope.spawn(shedding(|| learner.run(&go, &inputs_in, &wake)));
            }
            show_first(scope, self.first, engine.when_ready());
            engine.run(&reads, &inputs);
            stop.store(true, Ordering::SeqCst);
            wake.raise();
            drop(reads);
            drop(engine);
            // Knocks once, so that the accepting thread sees that it is to stop.
            drop(std::os::unix::net::UnixStream::connect(&control));
            Ok(0)
        })
    }
}

/// What the daemon reads and writes. What it is to write in must be there before it gives the rest up; whoever writes
/// says why it is not.
fn needs_of(setup: &Setup, readers: &Readers, name: &str, writes: [Option<&Path>; 2]) -> Needs {
    if let Some(directory) = setup.config.wall.out.as_deref().filter(|_| name != dryrun::NAME) {
        wall::make_room(directory);
    }
    Needs::of(&setup.config, &setup.place, &readers.feeds).writing(writes)
}

/// Changes the kernel as the engine says. `lift`: nothing stays of it at the end.
fn acting(inputs: &Sender<Input>, hand: Hand, jobs: Receiver<Job>, lift: bool) -> impl FnOnce() + use<> {
    let inputs = inputs.clone();
    move || {
        let action = kernel::run(hand, &jobs, |said| inputs.send(Input::Kernel(said)).is_ok());
        if lift {
            remove_all(action);
        }
    }
}

/// A channel for what is to be sent, and the work of putting it into the outbox; nothing if nothing is sent.
fn posting(delivery: &Delivery, state_dir: &Path) -> (Option<Sender<Post>>, Option<impl FnOnce() + use<>>) {
    if !delivery.is_there() {
        return (None, None);
    }
    let (posts, posted) = bounded(MOST_WAITING);
    let (nudge, state_dir) = (delivery.nudge(), state_dir.to_owned());
    (Some(posts), Some(move || poster::run(&state_dir, &posted, &nudge)))
}

/// Tells the engine of each; false once there is none.
fn telling<T>(inputs_in: &Sender<Input>, input: fn(T) -> Input) -> impl Fn(T) -> bool + use<T> {
    let engine_in = inputs_in.clone();
    move |told| engine_in.send(input(told)).is_ok()
}

/// Makes the pages that the engine orders.
fn publishing(
    inputs: &Sender<Input>,
    state_dir: PathBuf,
    ordered: Receiver<PageOrder>,
    stop: Arc<AtomicBool>,
) -> impl FnOnce() + use<> {
    let inputs = inputs.clone();
    move || publisher::run(&state_dir, &ordered, &stop, |made| inputs.send(Input::Published(made)).is_ok())
}

/// Hears who calls at the rescue port and at the dashboard, where there are such.
fn hear_callers<'s>(
    scope: &'s Scope<'s, '_>,
    (port, door): (Option<TcpListener>, Option<Door>),
    (inputs, desk): (&Sender<Input>, &Desk),
    wake: &'s Wake,
) {
    if let Some(listener) = port {
        let inputs = inputs.clone();
        scope.spawn(shedding(move || rescue::run(&listener, &inputs, wake)));
    }
    if let Some(door) = door {
        let desk = desk.clone();
        scope.spawn(shedding(move || door.run(&desk, wake)));
    }
}

/// Shows the first screen, where somebody looks on.
fn show_first<'s>(scope: &'s Scope<'s, '_>, first: Option<First>, ready: Receiver<()>) {
    if let Some(first) = first {
        scope.spawn(shedding(move || first.run(&ready)));
    }
}

/// The work of a thread that needs no capability.
fn shedding(work: impl FnOnce()) -> impl FnOnce() {
    move || {
        shed();
        work();
    }
}

/// Hears signals, and whoever asks at the name that guards the namespace.
fn answer_outside(guard: Option<Held>, inputs: &Sender<Input>) -> Result<(), Failure> {
    catch_signals(inputs)?;
    guard
        .map_or(Ok(()), Held::answer)
        .map_err(|error| Failure::new(exit::NO, format!("cannot start a thread: {error}")))
}

fn remove_all(mut action: Box<dyn Action>) {
    match action.remove_all() {
        Ok(count) => info!(count, "removed from the kernel"),
        Err(error) => warn!(%error, "cannot remove the bans from the kernel"),
    }
}

/// A channel for clients' orders, and the work of bringing them to the engine.
fn forwarding(to: &Sender<Input>) -> (Sender<Order>, impl FnOnce() + Send) {
    let (sender, receiver) = unbounded();
    let to = to.clone();
    let forward = move || {
        for order in receiver {
            if to.send(Input::Order(order)).is_err() {
                return;
            }
        }
    };
    (sender, forward)
}

fn catch_signals(inputs: &Sender<Input>) -> Result<(), Failure> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGTERM])
        .map_err(|error| Failure::new(exit::NO, format!("cannot watch for signals: {error}")))?;
    let inputs = inputs.clone();
    // It ends with the process: a signal may come at any time until then.
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for signal in signals.forever() {
                let input = if signal == SIGHUP { Input::Reload } else { Input::Stop };
                if inputs.send(input).is_err() {
                    return;
                }
            }
        })
        .map(drop)
        .map_err(|error| Failure::new(exit::NO, format!("cannot start a thread: {error}")))
}

/// Tells the engine when somebody else changes what is ours in the kernel, and when the wall clock is set.
fn hear_kernel(
    (mut watch, notice): (Option<Box<dyn KernelWatch>>, Option<SetNotice>),
    inputs: &Sender<Input>,
    wake: &Wake,
) {
    while !wake.is_raised() {
        let told = [watch.as_ref().map(|watch| watch.as_fd()), notice.as_ref().map(|notice| notice.as_fd())];
        let fds: Vec<_> = told.into_iter().flatten().chain([wake.as_fd()]).collect();
        if wait_readable(&fds).is_err() {
            continue;
        }
        let is_touched = watch.as_mut().is_some_and(|watch| !matches!(watch.read(), Ok(Seen::Nothing)));
        let was_set = notice.as_ref().is_some_and(SetNotice::was_set);
        let heard = [is_touched.then_some(Input::KernelTouched), was_set.then_some(Input::ClockSet)];
        if heard.into_iter().flatten().any(|input| inputs.send(input).is_err()) {
            return;
        }
    }
}
