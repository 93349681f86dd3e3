//! Policies as their JSON texts. Whoever creates a community says only what shall be other than
//! usual; whoever sets a policy says all of it.

use althing_core::{
    policy::Policy,
    refusal::{Code, Refusal},
};
use serde::Deserialize as _;
use serde_json::{Map, Value};

/// The longest text, in bytes.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// The policy as JSON.
pub(crate) fn text(policy: &Policy) -> String {
    serde_json::to_string(policy).expect("a policy is numbers with names")
}

/// `base`, but for what `text` says; nothing said means `base`.
///
/// # Errors
/// [`Code::BadPolicy`], naming the field.
pub(crate) fn over(base: &Policy, text: &str) -> Result<Policy, Refusal> {
    if text.trim().is_empty() {
        return Ok(base.clone());
    }
    let mut whole = serde_json::to_value(base).expect("a policy is numbers with names");
    for (path, value) in values(text)? {
        set(&mut whole, &path, value);
        // Each by itself, because only so the error is known to be of this field.
        Policy::deserialize(&whole).map_err(|error| bad(&path.join("."), &error.to_string()))?;
    }
    Policy::deserialize(&whole).map_err(|error| bad("policy", &error.to_string()))
}

/// The policy that `text` says, all of it.
///
/// # Errors
/// [`Code::BadPolicy`], naming the field.
pub(crate) fn whole(text: &str) -> Result<Policy, Refusal> {
    over(&Policy::default(), text)?;
    serde_json::from_str(text).map_err(|error| bad("policy", &format!("{error}; it has to be whole")))
}

/// Every value in the text, with the names that lead to it.
fn values(text: &str) -> Result<Vec<(Vec<String>, Value)>, Refusal> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(bad(
            "policy",
            &format!("its text has {} bytes, at most {TEXT_BYTES_MAX} are read", text.len()),
        ));
    }
    let object: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| bad("policy", &error.to_string()))?;
    let mut values = Vec::new();
    let mut open: Vec<_> = object.into_iter().map(|(name, value)| (vec![name], value)).collect();
    while let Some((path, value)) = open.pop() {
        match value {
            Value::Object(object) => open.extend(object.into_iter().map(|(name, value)| {
                let mut path = path.clone();
                path.push(name);
                (path, value)
            })),
            value => values.push((path, value)),
        }
    }
    values.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(values)
}

fn set(whole: &mut Value, path: &[String], value: Value) {
    let place = path.iter().fold(whole, |place, name| {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        &mut place[name.as_str()]
    });
    *place = value;
}

fn bad(field: &str, why: &str) -> Refusal {
    Refusal::new(Code::BadPolicy, format!("the policy's {field} is not usable: {why}")).with("field", field)
}

#[cfg(test)]
mod tests {
    use super::{over, text, whole};
    use althing_core::{policy::Policy, refusal::Code};

    #[test]
    fn nothing_said_means_the_default() {
        assert_eq!(over(&Policy::default(), "").unwrap(), Policy::default());
        assert_eq!(over(&Policy::default(), " {} ").unwrap(), Policy::default());
        assert_eq!(over(&Policy::default(), r#"{"quotas":{}}"#).unwrap(), Policy::default());
    }

    #[test]
    fn only_what_is_said_is_changed() {
        let told = r#"{"quotas":{"writes":3,"events":2},"retention":{"snapshots":7}}"#;
        let mut wanted = Policy::default();
        wanted.quotas.writes = 3;
        wanted.quotas.events = 2;
        wanted.retention.snapshots = 7;
        assert_eq!(over(&Policy::default(), told).unwrap(), wanted);
        assert_eq!(whole(&text(&wanted)).unwrap(), wanted);
    }

    #[test]
    fn the_field_that_is_wrong_is_named() {
        for (told, field) in [
            (r#"{"quotas":{"writes":"many"}}"#, "quotas.writes"),
            (r#"{"quotas":{"writes":5000000000}}"#, "quotas.writes"),
            (r#"{"quotas":{"events":1,"wishes":1}}"#, "quotas.wishes"),
            (r#"{"quotas":{"writes":{"most":1}}}"#, "quotas.writes.most"),
            (r#"{"quotas":7}"#, "quotas"),
            (r#"{"moods":{"good":1}}"#, "moods.good"),
            ("[]", "policy"),
            ("{", "policy"),
        ] {
            let refusal = over(&Policy::default(), told).unwrap_err();
            assert_eq!((refusal.code, refusal.data["field"].as_str()), (Code::BadPolicy, field), "{told}");
        }
    }

    #[test]
    fn a_policy_that_is_set_has_to_be_whole() {
        let refusal = whole(r#"{"quotas":{"writes":3}}"#).unwrap_err();
        assert_eq!(refusal.code, Code::BadPolicy);
        assert!(refusal.message.contains("missing field"), "{}", refusal.message);
        assert_eq!(whole("").unwrap_err().code, Code::BadPolicy);
        assert_eq!(whole(r#"{"quotas":7}"#).unwrap_err().data["field"], "quotas");
    }
}
