//! What people write over fail2ban's own files: both read it alike.

use pillory_core::config::fail2ban::Fail2ban;

use crate::peer::{Folder, compare, tools};

/// The stock directory with these files over it, read both ways; nothing without the peer.
fn over_stock(files: &[(&str, &str)]) -> Option<Fail2ban> {
    let tools = tools()?;
    Some(compare(&tools, &Folder::stock(&tools, files)).0)
}

/// These files alone, read both ways.
fn alone(files: &[(&str, &str)]) -> Option<Fail2ban> {
    let tools = tools()?;
    Some(compare(&tools, &Folder::with(files)).0)
}

#[test]
fn a_jail_local_as_people_write_it() {
    let local = "\
[DEFAULT]
# owners
ignoreip = 127.0.0.1/8 ::1, 192.0.2.10
           10.0.0.0/8,home.example.net   ; and home
bantime.increment = true
bantime.factor = 2
bantime.formula = ban.Time * math.exp(float(ban.Count+1)*banFactor)/math.exp(1*banFactor)
bantime.multipliers = 1 2 4 8
bantime.maxtime = 5w
bantime.rndtime = 30m
bantime.overalljails = Yes
bantime = 1h 30m
findtime = 1d-30min
ignorecache = key=\"<ip>\", max-count=100, max-time=5m
ignorecommand = /x/y --all <ip> %(__name__)s 100%%
ignoreself = 0
banaction = nftables-multiport
banaction_allports = nftables[type=allports]
action = %(action_mwl)s
destemail = a@example.net, b@example.net
logtimezone = UTC
logencoding = utf-8

[sshd]
Enabled = on
port = 22,2222
maxretry = 3
mode = aggressive
logpath = /var/log/auth.log
          /var/log/more/*.log tail
bantime = -1
usedns = no

[recidive]
enabled = 1
bantime = 1y 2mo 1w
";
    let Some(ours) = over_stock(&[("jail.local", local)]) else { return };
    assert_eq!(ours.jails.len(), 2);
}

#[test]
fn options_of_a_filter_from_everywhere() {
    let local = "\
[DEFAULT]
enabled = false
[sshd]
enabled = true
failregex = %(known/failregex)s
            ^own <HOST>$
ignoreregex = ^not <HOST>
maxlines = 3
datepattern = %%Y-%%m-%%d
journalmatch = _A=1 \"_B=2 3\" + _C='4'
               _D=5
[second]
enabled = true
filter = sshd[mode=extra, maxlines=7, publickey=any, logtype=short, usedns=raw, _daemon=\"my sshd\",
   prefregex='^<F-CONTENT>.*</F-CONTENT>$', journalmatch=\"X=%(__name__)s\", datepattern={NONE}]
[third]
enabled = true
backend = systemd[journalflags=1]
filter = postfix[mode='ddos'][x=\"a,b]c\"]
[fourth]
enabled = true
filter = mine
maxretry = %(sshd/port)s0
port = 9
failregex = <x>
x = unused
[sshd-known]
enabled = true
filter = mine[mode=b]
logpath = %(fail2ban_confpath)s/%(fail2ban_version)s.log
";
    let mine = "\
[INCLUDES]
before = common.conf
after = mine-after.conf
         none.local
[DEFAULT]
z = zed
[Definition]
Mode = a
re-a = ^a <HOST> <z> %(z)s <known/mode>
re-b = ^b <HOST> <Only-Init> <nothing> <lt_<logtype>/__prefix_line>
failregex = <re-<mode>>
            
            ^common %(__prefix_line)s
ignoreregex =
maxlines: 2
[Init]
only-init = i <maxretry> <known/mode>x
mode = c
";
    let after = "[Definition]\nfailregex = %(known/failregex)s\n  ^after <after>\n[Init]\nafter = 1\n";
    let after_local = "[Init]\nafter = 2 %(known/after)s\n";
    let files = [
        ("jail.local", local),
        ("filter.d/mine.conf", mine),
        ("filter.d/mine-after.conf", after),
        ("filter.d/mine-after.local", after_local),
        ("filter.d/mine.d/z.conf", "[Definition]\nmaxlines = 5\n"),
        ("filter.d/common.local", "[DEFAULT]\n__date_ambit = (?:x)\n"),
        ("filter.d/sshd.local", "[Definition]\n_daemon = s\n[DEFAULT]\n_daemon = t\n"),
    ];
    let Some(ours) = over_stock(&files) else { return };
    assert_eq!(ours.jails.len(), 5);
}

#[test]
fn actions_with_quotes_conditions_and_several_lines() {
    let local = "\
[DEFAULT]
enabled = true
filter = f
chain = <known/chain>
port = 1:2,3
[one]
action = act[name=one-x, port=\"%(port)s\", chain=\"%(chain)s\"] act[actname='b c', a=\"x
   y, z\" , broken]
[two]
action = act[name=\"%(__name__)s\", actionban=\"echo <ip> <name>\"][blocktype=DROP]
         act[ name=other ]
[three]
action = act[blocktype=\"a]b,c\", norestored=yes, timeout=1m]

         other[known=\"<known/init>\", x=<init>]
         smtp.py[dest=\"a@b\", actname=mailer]
         smtp.py
[blank]
action = act [name=x]
[four]
action =
  act[init=\"%(two/port)s\"]
  act[name=%(__name__)s-2]   other
";
    let act = "\
[Definition]
actionstart = <iptables> -N <name>
              for p in <port>; do
                <init>

              done
actionban = %(again)s <bantime> <timeout> <matches> <F-USER> <blocktype>
again = <iptables> -s <ip> <maxretry> <sub/x>
actionstart_on_demand = on
norestored = 0
[sub]
x = <chain>-%(y)s
y = 1
[Init]
chain = INPUT
init = i<br>
iptables = iptables <lock>
lock = -w
blocktype = REJECT
[Init?family=inet6]
iptables = ip6tables <lock>
blocktype = REJECT6 <known/init>
";
    let files = [
        ("jail.conf", "[DEFAULT]\nlogpath = /var/log/x\n"),
        ("filter.d/f.conf", "[Definition]\nfailregex = <HOST>\n"),
        ("action.d/act.conf", act),
        ("action.d/act.local", "[Init]\nlock = %(known/lock)s -x\n"),
        (
            "action.d/other.conf",
            "[Definition]\nactionban = echo <known> <x> <jail.found>\n[Init]\ninit = 7\n",
        ),
    ];
    let broken = local.replace(" , broken", "");
    let mut with_local = files.to_vec();
    with_local.push(("jail.local", &broken));
    let Some(ours) = alone(&with_local) else { return };
    assert_eq!(ours.jails.len(), 4, "{:#?}", ours.problems);
    // With the broken option the jail is left out by both, the others are not.
    let mut with_local = files.to_vec();
    with_local.push(("jail.local", local));
    let Some(ours) = alone(&with_local) else { return };
    assert_eq!(ours.jails.len(), 3);
    assert!(ours.problems.iter().any(|problem| problem.jail.as_deref() == Some("one")));
}

#[test]
fn files_of_jail_d_in_their_order() {
    let files = [
        (
            "jail.conf",
            "[DEFAULT]\nfilter = f\nlogpath = /x\nenabled = true\nmaxretry = 1\nfindtime = 1m\nbantime = 1s\n",
        ),
        ("jail.d/20.conf", "[DEFAULT]\nmaxretry = 20\n[INCLUDES]\nbefore = ../inc.conf\n"),
        ("jail.d/10.conf", "[DEFAULT]\nmaxretry = 10\nfindtime = 10\n[a]\n"),
        ("jail.d/10.local", "[b]\nbantime = %(known/bantime)s0\n"),
        ("jail.d/x.disabled", "[c]\nbantime = 9\n"),
        ("jail.local", "[DEFAULT]\nfindtime = 5m\n[b]\nbantime = 3\n"),
        ("inc.conf", "[DEFAULT]\nmaxretry = 30\nbantime = 2mo\n[i]\nmaxretry: 4\n"),
        ("filter.d/f.local", "[Definition]\nfailregex = <HOST>\n"),
    ];
    let Some(ours) = alone(&files) else { return };
    assert_eq!(ours.jails.iter().map(|jail| jail.name.as_str()).collect::<Vec<_>>(), ["a", "i", "b"]);
}

#[test]
fn one_bad_jail_stops_no_other() {
    let files = [
        ("jail.conf", "[DEFAULT]\nlogpath = /x\nenabled = true\nfilter = f\n"),
        (
            "jail.local",
            "[a]\nfilter = none-such\n[b]\naction = none-such\n[c]\nfilter = f[x\n[d]\nmaxretry = 4\n[e]\naction = f.py[x\n",
        ),
        ("filter.d/f.conf", "[Definition]\nfailregex = <HOST>\n"),
    ];
    let Some(ours) = alone(&files) else { return };
    let lines: Vec<_> = ours.problems.iter().map(|p| (p.jail.as_deref().unwrap(), p.line)).collect();
    assert_eq!(lines, [("a", 2), ("b", 4), ("c", 6), ("d", 7), ("e", 10)], "{:#?}", ours.problems);
    assert_eq!(ours.jails.len(), 1);
}
