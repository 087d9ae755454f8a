//! Webhooks: a message as JSON, in the form that its receiver takes. Text is put into values that were parsed before, so
//! nothing in it ends a string; what the receiver would take for more than text is switched off or escaped.

use serde_json::{Value, json};
use ureq::http;

use pillory_core::config::outgoing::{Form, WebPlace, Webhook};
use pillory_core::outgoing::{Kind, Message, Url};

use super::super::http::Web;
use super::super::{Failed, secret};

/// What a template may have in its strings.
const PLACES: [&str; 6] = ["subject", "text", "host", "kind", "count", "id"];

/// So many characters Discord takes. Source: its documentation of `Execute Webhook`, field `content`.
const DISCORD_CHARS: usize = 2_000;

/// ntfy makes a file of longer messages. Source: its documentation, `message-size-limit`.
const NTFY_BYTES: usize = 4_000;

pub(in super::super) fn tell(hook: &Webhook, message: &Message) -> Result<(), Failed> {
    let place = match &hook.place {
        WebPlace::Known(url) => url.clone(),
        WebPlace::File(file) => {
            let text = secret(file).map_err(Failed::lasting)?;
            Url::parse(&text)
                .map_err(|why| Failed::lasting(format!("what {} holds {why}", file.display())))?
        }
    };
    let token = hook.token_file.as_deref().map(secret).transpose().map_err(Failed::lasting)?;
    if place.is_open() && (token.is_some() || !hook.headers.is_empty()) {
        return Err(Failed::lasting("the address would send the token in the open; use https://"));
    }
    let (method, url, body) = request(&hook.form, &place, message).map_err(Failed::lasting)?;
    let mut request = http::Request::builder()
        .method(method)
        .uri(url)
        .header("content-type", "application/json")
        .header("idempotency-key", &message.id);
    for (name, value) in &hook.headers {
        request = request.header(name, value);
    }
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let unfit = |_| Failed::lasting("the address, a header field or the token is none");
    let request = request.body(body.to_string().into_bytes()).map_err(unfit)?;
    Web::new(hook.ca_file.as_deref(), 0, !place.as_str().starts_with("https:"))?.ask(request)?.taken()
}

/// The method, the address and the body.
fn request(form: &Form, place: &Url, message: &Message) -> Result<(http::Method, String, Value), String> {
    let (url, post) = (place.as_str().to_owned(), http::Method::POST);
    let (subject, text) = (message.subject.as_str(), message.text());
    Ok(match form {
        Form::Json => (post, url, serde_json::to_value(message).unwrap_or_default()),
        Form::Template(template) => (post, url, fill(&parse(template)?, message)),
        Form::Slack => {
            let both = format!("*{}*\n{}", for_slack(subject), for_slack(&text));
            (post, url, json!({"text": both, "unfurl_links": false, "unfurl_media": false}))
        }
        Form::Discord => {
            // Within a block of code nothing is formatted, and nobody is called.
            let block = format!("{subject}\n{text}").replace('`', "'");
            let block: String = block.chars().take(DISCORD_CHARS - 10).collect();
            let content = format!("```\n{block}\n```");
            (post, url, json!({"content": content, "allowed_mentions": {"parse": []}}))
        }
        Form::Matrix => {
            let id: String =
                message.id.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
            let body = json!({"msgtype": "m.text", "body": format!("{subject}\n{text}"), "m.mentions": {}});
            (http::Method::PUT, place.join(&id), body)
        }
        Form::Ntfy => {
            let (base, topic) = url.trim_end_matches('/').rsplit_once('/').unwrap_or_default();
            if topic.is_empty() || base.ends_with('/') {
                return Err("the address of ntfy has no topic behind its last /".to_owned());
            }
            let priority = match message.kind {
                Kind::Alarm => 5,
                Kind::Warning => 4,
                _ => 3,
            };
            let mut text = text;
            while text.len() > NTFY_BYTES {
                text.pop();
            }
            let body = json!({"topic": topic, "title": subject, "message": text, "priority": priority,
                "tags": [message.kind.name()]});
            (post, base.to_owned(), body)
        }
    })
}

/// What Slack would take for a link, a name or a channel is text with these three escaped.
/// Source: its documentation, `Escaping text`.
fn for_slack(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn parse(template: &str) -> Result<Value, String> {
    serde_json::from_str(template).map_err(|error| format!("template is no JSON: {error}"))
}

/// What is wrong with a form.
pub(in super::super) fn problem(form: &Form) -> Option<String> {
    let Form::Template(template) = form else { return None };
    match parse(template) {
        Err(error) => Some(error),
        Ok(value) => unknown(&value).map(|name| {
            format!("template has {{{name}}}, which is not known; use {{{}}}", PLACES.join("}, {"))
        }),
    }
}

/// A place in a template that there is not.
fn unknown(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => text.split('{').skip(1).find_map(|rest| {
            let name = rest.split_once('}')?.0;
            let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase());
            (is_name && !PLACES.contains(&name)).then(|| name.to_owned())
        }),
        Value::Array(values) => values.iter().find_map(unknown),
        Value::Object(values) => values.values().find_map(unknown),
        _ => None,
    }
}

/// A template with its places filled in; a string that is a count and nothing else becomes a number.
fn fill(value: &Value, message: &Message) -> Value {
    match value {
        Value::String(text) if text == "{count}" => message.events.into(),
        Value::String(text) => filled(text, message).into(),
        Value::Array(values) => values.iter().map(|value| fill(value, message)).collect(),
        Value::Object(values) => {
            Value::Object(values.iter().map(|(key, value)| (key.clone(), fill(value, message))).collect())
        }
        other => other.clone(),
    }
}

/// Each place is looked for once: what is filled in may look like one.
fn filled(text: &str, message: &Message) -> String {
    let mut parts = text.split('{');
    let mut made = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let known = part.split_once('}').and_then(|(name, rest)| {
            let value = match name {
                "subject" => message.subject.clone(),
                "text" => message.text(),
                "host" => message.host.clone(),
                "kind" => message.kind.name().to_owned(),
                "count" => message.events.to_string(),
                "id" => message.id.clone(),
                _ => return None,
            };
            Some((value, rest))
        });
        match known {
            Some((value, rest)) => {
                made.push_str(&value);
                made.push_str(rest);
            }
            None => {
                made.push('{');
                made.push_str(part);
            }
        }
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Message {
        Message {
            id: "7.1.a".into(),
            host: "host".into(),
            kind: Kind::Alarm,
            events: 2,
            subject: "pillory on host: 2 alarms".into(),
            lines: vec![text.to_owned()],
        }
    }

    fn body(form: &Form, text: &str) -> (http::Method, String, Value) {
        let place = Url::parse("https://example.net/base/topic").unwrap();
        request(form, &place, &message(text)).unwrap()
    }

    #[test]
    fn a_template_is_filled_in_and_nothing_in_a_text_ends_it() {
        let template =
            "{\"a\": [\"{subject}: {text}\", {\"n\": \"{count}\"}], \"x\": \"{ {nothing\", \"b\": 3}";
        let hostile = "\"}], \"admin\": true, {text} {subject}";
        let (_, _, body) = body(&Form::Template(template.into()), hostile);
        let expected = json!({"a": [format!("pillory on host: 2 alarms: {hostile}"), {"n": 2}], "x": "{ {nothing", "b": 3});
        assert_eq!(body, expected);
    }

    #[test]
    fn a_template_that_is_none_is_told() {
        let problem = |text: &str| problem(&Form::Template(text.into()));
        assert_eq!(problem("{\"a\": \"{text} {}\"}"), None);
        assert!(problem("{\"a\": {text}}").is_some_and(|why| why.contains("no JSON")));
        assert!(problem("{\"a\": [\"{txt}\"]}").is_some_and(|why| why.contains("{txt}")));
    }

    #[test]
    fn what_receivers_would_take_for_more_than_text_is_none() {
        let hostile = "<!channel> <https://evil.example|click> @everyone ``` **x** &";
        let (_, _, slack) = body(&Form::Slack, hostile);
        let text = slack["text"].as_str().unwrap();
        assert!(!text.contains("<!") && text.contains("&lt;!channel&gt;") && text.ends_with("&amp;"));
        let (_, _, discord) = body(&Form::Discord, hostile);
        assert_eq!(discord["allowed_mentions"], json!({"parse": []}));
        let content = discord["content"].as_str().unwrap();
        assert_eq!(content.matches("```").count(), 2);
        let (_, _, discord) = body(&Form::Discord, &"ü".repeat(5_000));
        assert!(discord["content"].as_str().unwrap().chars().count() <= DISCORD_CHARS);
        let (method, url, matrix) = body(&Form::Matrix, hostile);
        assert_eq!((method, url.as_str()), (http::Method::PUT, "https://example.net/base/topic/7-1-a"));
        assert!(matrix.get("formatted_body").is_none());
        let (_, url, ntfy) = body(&Form::Ntfy, hostile);
        assert_eq!(
            (url.as_str(), &ntfy["topic"], &ntfy["priority"]),
            ("https://example.net/base", &json!("topic"), &json!(5))
        );
    }
}
