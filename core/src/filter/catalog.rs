//! The built-in filters: fail2ban's grammar, our own words, embedded in the program.

use super::FilterSpec;
use super::spec::SpecError;

/// Name and text of every built-in filter.
const FILTERS: [(&str, &str); 10] = [
    ("apache-auth", include_str!("../../filters/apache-auth.conf")),
    ("dovecot", include_str!("../../filters/dovecot.conf")),
    ("dropbear", include_str!("../../filters/dropbear.conf")),
    ("nginx-http-auth", include_str!("../../filters/nginx-http-auth.conf")),
    ("pam-generic", include_str!("../../filters/pam-generic.conf")),
    ("postfix-sasl", include_str!("../../filters/postfix-sasl.conf")),
    ("proftpd", include_str!("../../filters/proftpd.conf")),
    ("sshd", include_str!("../../filters/sshd.conf")),
    ("vsftpd", include_str!("../../filters/vsftpd.conf")),
    ("wordpress", include_str!("../../filters/wordpress.conf")),
];

/// Files that filters include.
const INCLUDES: [(&str, &str); 1] = [("common.conf", include_str!("../../filters/common.conf"))];

/// Names of the built-in filters, in alphabetical order.
pub fn names() -> impl Iterator<Item = &'static str> {
    FILTERS.iter().map(|(name, _)| *name)
}

/// The text of a built-in filter.
pub fn text(name: &str) -> Option<&'static str> {
    FILTERS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// The text of a built-in file for `before =` and `after =`.
pub fn include(name: &str) -> Option<String> {
    INCLUDES.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned())
}

/// A built-in filter; nothing if there is none of that name.
pub fn builtin(name: &str) -> Option<FilterSpec> {
    // Invariant: the test below reads every built-in filter, so a name that is known can be read.
    try_builtin(name)?.ok()
}

fn try_builtin(name: &str) -> Option<Result<FilterSpec, Vec<SpecError>>> {
    text(name).map(|text| FilterSpec::parse(name, text, &include))
}

#[cfg(test)]
mod tests {
    use super::super::Filter;
    use super::*;

    #[test]
    fn every_built_in_filter_compiles() {
        for name in names() {
            let spec = match try_builtin(name).unwrap() {
                Ok(spec) => spec,
                Err(problems) => panic!("{name}: {problems:?}"),
            };
            if let Err(problems) = Filter::compile(&spec) {
                panic!("{name}: {}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
            }
        }
    }

    #[test]
    fn the_table_is_in_order() {
        assert!(names().is_sorted());
    }
}
