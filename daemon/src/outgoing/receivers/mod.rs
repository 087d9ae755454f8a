//! Who is told of attackers, each in its own form.

pub(super) mod abuseipdb;
pub(super) mod blocklist_de;
pub(super) mod xarf;

use super::Failed;

/// A form as browsers send it.
fn form(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

fn unfit(_: ureq::http::Error) -> Failed {
    Failed::lasting("the address or the key is none that can be sent")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_become_another_field() {
        assert_eq!(form(&[("a", "x y&b=ü+%"), ("c", "")]), "a=x+y%26b%3D%C3%BC%2B%25&c=");
    }
}
