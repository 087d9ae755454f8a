//! fail2ban's own directory, every jail enabled, in every mode and for every kind of log.

use crate::peer::{Folder, ask, compare, tools};

/// Files of a folder of the stock directory, without their endings.
fn names(folder: &Folder, of: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder.0.join(of)).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = entries
        .filter_map(|name| name.into_string().unwrap().strip_suffix(".conf").map(str::to_owned))
        .collect();
    names.sort();
    names
}

#[test]
fn every_jail_of_the_stock_directory_is_resolved_alike() {
    let Some(tools) = tools() else { return };
    let folder = Folder::stock(&tools, &[("jail.local", "[DEFAULT]\nenabled = true\n")]);
    let (ours, compared) = compare(&tools, &folder);
    assert!(ours.jails.len() > 80, "{} jails", ours.jails.len());
    println!("{} jails, {compared} values", ours.jails.len());
}

#[test]
fn stock_jails_that_are_not_enabled_are_listed_only() {
    let Some(tools) = tools() else { return };
    let ours = Folder::stock(&tools, &[]).read();
    assert_eq!(ours.jails.iter().map(|jail| jail.name.as_str()).collect::<Vec<_>>(), ["sshd"]);
    assert!(ours.disabled.len() > 80);
    assert_eq!(ours.problems, []);
}

#[test]
fn every_mode_and_kind_of_log_gives_the_same_expressions() {
    let Some(tools) = tools() else { return };
    for mode in ["normal", "ddos", "extra", "aggressive", "more", "auth", "rbl", "errors"] {
        for logtype in ["", ", logtype=journal", ", logtype=file", ", logtype=rfc5424", ", logtype=short"] {
            let local = format!("[DEFAULT]\nenabled = true\nfilter = %(__name__)s[mode={mode}{logtype}]\n");
            compare(&tools, &Folder::stock(&tools, &[("jail.local", &local)]));
        }
        let local = format!("[DEFAULT]\nenabled = true\nmode = {mode}\n[INCLUDES]\nafter = systemd.conf\n");
        let backend = "[DEFAULT]\ndefault_backend = systemd\nbackend = systemd\n";
        compare(&tools, &Folder::stock(&tools, &[("jail.local", &local), ("systemd.conf", backend)]));
    }
}

#[test]
fn the_paths_of_every_distribution_are_the_same() {
    let Some(tools) = tools() else { return };
    for paths in ["paths-arch", "paths-common", "paths-opensuse", "paths-debian"] {
        let local = format!("[INCLUDES]\nbefore = {paths}.conf\n[DEFAULT]\nenabled = true\n");
        let overrides = "[DEFAULT]\nsyslog_authpriv = /elsewhere/%(known/x)s\nx = auth\n";
        let folder = Folder::stock(&tools, &[("jail.local", &local), ("paths-overrides.local", overrides)]);
        let (ours, _) = compare(&tools, &folder);
        let sshd = ours.jails.iter().find(|jail| jail.name.as_str() == "sshd").unwrap();
        assert!(!sshd.logpath.is_empty());
    }
}

#[test]
fn every_filter_and_every_action_is_read_alike() {
    let Some(tools) = tools() else { return };
    let folder = Folder::stock(&tools, &[]);
    let mut local = "[DEFAULT]\nlogpath = /var/log/x\n".to_owned();
    // This one alone cannot be read: it refers to what those that include it define.
    for filter in names(&folder, "filter.d").iter().filter(|name| *name != "selinux-common") {
        local += &format!("[f.{filter}]\nenabled = true\nfilter = {filter}\n");
    }
    let actions = names(&folder, "action.d");
    for action in &actions {
        local += &format!(
            "[a.{action}]\nenabled = true\nfilter = sshd\naction = {action}\n  {action}[name=x, port=\"1,2\", bantime=7, timeout=\"1m\", blocktype=DROP]\n"
        );
    }
    folder.write(&[("jail.local", &local)]);
    let (ours, compared) = compare(&tools, &folder);
    assert!(ours.jails.len() >= actions.len() + 80);
    println!("{} jails, {compared} values", ours.jails.len());
}

#[test]
fn the_daemons_settings_are_the_same() {
    let Some(tools) = tools() else { return };
    let local = "[DEFAULT]\nloglevel = DEBUG\n[Definition]\ndbpurgeage = 2d 1h\ndbmaxmatches = 7\ndbfile = /x/%(known/y)s\n";
    let files = [("fail2ban.local", local), ("fail2ban.d/a.conf", "[DEFAULT]\ny = z\n")];
    let folder = Folder::stock(&tools, &files);
    let (theirs, ours) = (ask(&tools, &folder)["server"].clone(), folder.read().settings);
    assert_eq!(theirs["loglevel"], ours.loglevel);
    assert_eq!(theirs["logtarget"], ours.logtarget);
    assert_eq!(theirs["syslogsocket"], ours.syslogsocket);
    assert_eq!(theirs["allowipv6"], ours.allowipv6);
    assert_eq!(theirs["dbfile"].as_str(), ours.dbfile.as_deref());
    assert_eq!(theirs["dbmaxmatches"], ours.dbmaxmatches.unwrap());
    assert_eq!((theirs["dbpurgeage"].as_str(), ours.dbpurgeage.secs()), (Some("2d 1h"), 49 * 3600));
}
