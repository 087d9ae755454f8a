//! Login records (utmp form): failed logins from btmp, good ones from wtmp.
