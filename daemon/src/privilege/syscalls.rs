//! Seccomp: the kernel serves only the system calls that a running daemon makes.
//!
//! Any other is answered with ENOSYS, as by a kernel that does not know it, and the daemon is not killed: it has to go on
//! protecting the host if a library learns a new call, and libraries do without a call that is not there. That is how
//! threads are made by `clone`, whose flags can be looked at, after `clone3` failed.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::SeccompCmpArgLen::{Dword, Qword};
use seccompiler::SeccompCmpOp::{Eq, MaskedEq};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// What is served whatever is asked. Found by running all tests of the lab without it, and by reading what glibc and musl
/// do in its place.
const ALWAYS: &[c_long] = &[
    // Memory and threads.
    libc::SYS_brk,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_get_robust_list,
    libc::SYS_getcpu,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigtimedwait,
    // Giving up capabilities; the kernel gives none back.
    libc::SYS_capget,
    libc::SYS_capset,
    // Time and chance.
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_getrandom,
    libc::SYS_gettimeofday,
    libc::SYS_nanosleep,
    // Who and where we are.
    libc::SYS_getcwd,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getuid,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    // Files; which ones says Landlock.
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fadvise64,
    libc::SYS_fallocate,
    libc::SYS_fchmod,
    libc::SYS_fchown,
    libc::SYS_fcntl,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_getdents64,
    libc::SYS_lseek,
    libc::SYS_mkdirat,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_read,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_renameat2,
    libc::SYS_statfs,
    libc::SYS_statx,
    libc::SYS_unlinkat,
    libc::SYS_write,
    libc::SYS_writev,
    // Waiting and being told.
    libc::SYS_eventfd2,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_rm_watch,
    libc::SYS_pidfd_open,
    libc::SYS_pipe2,
    libc::SYS_ppoll,
    // Sockets that are there; which ones can be made is below.
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_listen,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
];

/// The older calls of this machine.
#[cfg(target_arch = "x86_64")]
const OLDER: &[c_long] = &[
    libc::SYS_access,
    libc::SYS_arch_prctl,
    libc::SYS_dup2,
    libc::SYS_getdents,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_open,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_stat,
    libc::SYS_time,
    libc::SYS_unlink,
];
/// `renameat`, for which the libc crate has no name here (asm-generic/unistd.h).
#[cfg(target_arch = "aarch64")]
const OLDER: &[c_long] = &[38];

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// A call that is served if one of its arguments, by its number, is one of these.
type Asked = (c_long, u8, SeccompCmpArgLen, Vec<(SeccompCmpOp, u64)>);

/// Limits every thread of this process.
/// # Errors
/// Why nothing is limited, in words.
pub(super) fn restrict() -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| format!("seccomp cannot be used: {error}");
    let programme = programme().map_err(|error| failed(&error))?;
    seccompiler::apply_filter_all_threads(&programme).map_err(|error| failed(&error))
}

fn programme() -> Result<BpfProgram, seccompiler::BackendError> {
    #[cfg(target_arch = "x86_64")]
    let machine = seccompiler::TargetArch::x86_64;
    #[cfg(target_arch = "aarch64")]
    let machine = seccompiler::TargetArch::aarch64;
    let refuse = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    SeccompFilter::new(rules()?, refuse, SeccompAction::Allow, machine)?.try_into()
}

fn rules() -> Result<Rules, seccompiler::BackendError> {
    let mut rules: Rules = ALWAYS.iter().chain(OLDER).map(|call| (*call, Vec::new())).collect();
    let families = [libc::AF_UNIX, libc::AF_NETLINK];
    // Threads of this process, and no other process.
    let thread = libc::CLONE_THREAD as u64;
    // Nothing becomes code that was not code at the start.
    let not_code = MaskedEq(libc::PROT_EXEC as u64);
    let own = u64::from(std::process::id());
    let asked: [Asked; 8] = [
        (libc::SYS_socket, 0, Dword, families.map(|family| (Eq, family as u64)).to_vec()),
        (libc::SYS_socketpair, 0, Dword, vec![(Eq, libc::AF_UNIX as u64)]),
        (libc::SYS_clone, 0, Qword, vec![(MaskedEq(thread), thread)]),
        (libc::SYS_mmap, 2, Dword, vec![(not_code.clone(), 0)]),
        (libc::SYS_mprotect, 2, Dword, vec![(not_code, 0)]),
        // A panic that nobody catches ends the daemon by a signal to itself.
        (libc::SYS_tgkill, 0, Dword, vec![(Eq, own)]),
        (libc::SYS_prctl, 0, Dword, PRCTL.iter().map(|option| (Eq, *option as u64)).collect()),
        (libc::SYS_ioctl, 1, Dword, IOCTL.iter().map(|request| (Eq, *request)).collect()),
    ];
    for (call, argument, length, values) in asked {
        let condition = |(how, value)| {
            SeccompCondition::new(argument, length.clone(), how, value)
                .and_then(|one| SeccompRule::new(vec![one]))
        };
        rules.insert(call, values.into_iter().map(condition).collect::<Result<Vec<_>, _>>()?);
    }
    let sockets = rules.entry(libc::SYS_socket).or_default();
    for (family, (kind, protocol)) in INET.into_iter().flat_map(|family| KINDS.map(|kind| (family, kind))) {
        let asked = [(0, Eq, family), (1, MaskedEq(KIND_BITS), kind), (2, Eq, protocol)];
        let asked =
            asked.map(|(argument, how, value)| SeccompCondition::new(argument, Dword, how, value as u64));
        sockets.push(SeccompRule::new(asked.into_iter().collect::<Result<Vec<_>, _>>()?)?);
    }
    // A thread that learns from the past makes way for the others.
    let own_priority = [SeccompCondition::new(0, Dword, Eq, 0)?, SeccompCondition::new(1, Dword, Eq, 0)?];
    rules.insert(libc::SYS_setpriority, vec![SeccompRule::new(own_priority.to_vec())?]);
    // To be asked for a limit of its own, not to change one.
    let read_only = [SeccompCondition::new(0, Dword, Eq, 0)?, SeccompCondition::new(2, Qword, Eq, 0)?];
    rules.insert(libc::SYS_prlimit64, vec![SeccompRule::new(read_only.to_vec())?]);
    Ok(rules)
}

/// To ask name servers, and to send: TCP and UDP of the Internet, and nothing else of it. Whether a name is listed is not
/// asked: the first one would need a restart, and what keeps the daemon off the network in its unit is the unit.
const INET: [libc::c_int; 2] = [libc::AF_INET, libc::AF_INET6];
/// Kinds with their protocols: what a kind brings by itself, or TCP by its name, which is the same.
const KINDS: [(libc::c_int, libc::c_int); 3] =
    [(libc::SOCK_STREAM, 0), (libc::SOCK_DGRAM, 0), (libc::SOCK_STREAM, libc::IPPROTO_TCP)];
/// `SOCK_TYPE_MASK` of linux/net.h; flags stand above.
const KIND_BITS: u64 = 0xf;

/// Names of threads and of memory; and `PR_GET_AUXV`, to learn where the kernel's own clock is.
const PRCTL: [libc::c_int; 4] = [libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_VMA, 0x4155_5856];

/// `TCGETS`, `TCGETS2` and `TIOCGWINSZ` (is it a terminal, and how wide), `FIONREAD`, `FIONBIO`, `FIOCLEX`, as both machines
/// have them (asm-generic/ioctls.h); C libraries differ in the type.
const IOCTL: [u64; 6] = [0x5401, 0x802c_542a, 0x5413, 0x541b, 0x5421, 0x5451];

#[cfg(test)]
mod tests {
    use std::net::{TcpStream, UdpSocket};
    use std::os::unix::net::UnixDatagram;

    use super::*;

    /// What a thread may do that is limited like a running daemon.
    fn limited<T: Send>(work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                seccompiler::apply_filter(&programme().unwrap()).unwrap();
                work()
            });
            thread.join().unwrap()
        })
    }

    fn errno<T>(result: std::io::Result<T>) -> Option<i32> {
        result.err().and_then(|error| error.raw_os_error())
    }

    #[test]
    fn of_the_internet_there_are_tcp_and_udp_only() {
        use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, socket_with};
        let make = |family, kind, number: u32| {
            let protocol = std::num::NonZero::new(number).map(Protocol::from_raw);
            socket_with(family, kind, SocketFlags::CLOEXEC, protocol)
                .err()
                .map(rustix::io::Errno::raw_os_error)
        };
        let tried = limited(|| {
            [
                errno(UdpSocket::bind("127.0.0.1:0")),
                errno(TcpStream::connect("[::1]:1")).filter(|code| *code == libc::ENOSYS),
                errno(UnixDatagram::unbound()),
                // ICMP as everybody may, raw IP, SCTP, packets.
                make(AddressFamily::INET, SocketType::DGRAM, 1),
                make(AddressFamily::INET, SocketType::RAW, 255),
                make(AddressFamily::INET6, SocketType::SEQPACKET, 132),
                make(AddressFamily::PACKET, SocketType::DGRAM, 0),
            ]
        });
        let refused = Some(libc::ENOSYS);
        assert_eq!(tried, [None, None, None, refused, refused, refused, refused]);
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "it must not start")]
    fn threads_can_be_started_and_programs_cannot() {
        let (thread, program) = limited(|| {
            let thread = std::thread::Builder::new().spawn(|| 7).map(|thread| thread.join().unwrap());
            (thread, std::process::Command::new("/bin/true").spawn())
        });
        assert_eq!(thread.unwrap(), 7);
        assert_eq!(errno(program), Some(libc::ENOSYS));
    }

    #[test]
    fn what_changes_the_system_is_not_served() {
        use rustix::io::Errno;
        use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
        let tried = limited(|| {
            let own = std::fs::File::open("/proc/self/ns/uts").unwrap();
            [
                move_into_link_name_space(
                    std::os::fd::AsFd::as_fd(&own),
                    Some(LinkNameSpaceType::HostNameAndNISDomainName),
                ),
                rustix::system::sethostname(b"pwned"),
                rustix::fs::mknodat(
                    rustix::fs::CWD,
                    "/tmp/pwned",
                    rustix::fs::FileType::Fifo,
                    0o600.into(),
                    0,
                ),
                rustix::process::chroot("/tmp"),
                rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::CONT),
            ]
        });
        assert_eq!(tried, [Err(Errno::NOSYS); 5]);
    }
}
