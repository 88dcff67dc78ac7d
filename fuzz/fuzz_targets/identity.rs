//! Any texts as claims and as the settings of an emitter: refused, or an identity within its limits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sse_proto::admission::{Event, Subscriber, admits, nobody_matches};
use sse_proto::annotation::Access;
use sse_proto::identity::{
    ClaimNames, Claims, Emission, EmitterSettings, Identity, MAX_IDENTITY_BYTES, MAX_ROLES,
};
use sse_proto::scope::Scope;

fuzz_target!(|texts: (Option<&str>, Option<&str>, Option<&str>, Option<&str>, &str)| {
    let (user_id, user_name, user_roles, jwt_claims, names) = texts;
    let names = match ClaimNames::parse(names, names, names) {
        Ok(own) if !names.is_empty() => own,
        _ => ClaimNames::default(),
    };

    let claimed = Claims::parse(jwt_claims.unwrap_or_default())
        .and_then(|claims| Identity::from_claims(claims.as_map(), &names));
    if let Ok(identity) = &claimed {
        check(identity);
    }

    let settings = EmitterSettings { user_id, user_name, user_roles, jwt_claims };
    let emission = Emission::of(&settings, &names);
    let is_set = |setting: Option<&str>| setting.is_some_and(|text| !text.is_empty());
    match &emission {
        Emission::Known(identity) => {
            check(identity);
            assert!(!identity.is_empty());
            if is_set(user_id) || is_set(user_name) {
                assert_eq!(identity.user_id().unwrap_or(""), user_id.unwrap_or(""), "claims were mixed in");
                assert_eq!(
                    identity.user_name().unwrap_or(""),
                    user_name.unwrap_or(""),
                    "claims were mixed in"
                );
            } else if !is_set(user_roles) {
                assert_eq!(claimed.as_ref(), Ok(identity));
            }
        }
        Emission::None => {
            assert!(!is_set(user_id) && !is_set(user_name));
            assert!(!is_set(jwt_claims) || claimed.is_ok_and(|identity| identity.is_empty()));
        }
        Emission::Undecidable => {}
    }

    // Roles that were read come back from the array literal that Postgres would write.
    let roles_alone =
        |text: &str| Emission::of(&EmitterSettings { user_roles: Some(text), ..Default::default() }, &names);
    if let Emission::Known(identity) = roles_alone(user_roles.unwrap_or_default()) {
        let quoted = |role: &String| format!("\"{}\"", role.replace('\\', "\\\\").replace('"', "\\\""));
        let literal = format!("{{{}}}", identity.roles().iter().map(quoted).collect::<Vec<_>>().join(","));
        assert_eq!(roles_alone(&literal), Emission::Known(identity));
    }

    // The user who raised an event is among those whom `matching` reaches, and an undecidable emitter reaches
    // nobody.
    let access = Access::Authorize(Vec::new());
    let emitter = emission.as_emitter();
    let (view, identity) = match (&emitter, &emission) {
        (Emission::Known(emitter), Emission::Known(identity)) => (Emission::Known(emitter), identity.clone()),
        (Emission::Undecidable, _) => (Emission::Undecidable, Identity::default()),
        _ => (Emission::None, Identity::default()),
    };
    let event = Event {
        execution_id: None,
        topic: None,
        scope: &Scope::Matching,
        access: &access,
        emission: view,
        caller: None,
    };
    let subscriber = Subscriber { identity: Some(&identity), topics: &[], execution_id: None, call: None };
    assert_eq!(admits(&event, &subscriber), !nobody_matches(&access, &emission));
    assert!(!admits(&event, &Subscriber { identity: None, ..subscriber }));
});

fn check(identity: &Identity) {
    let values: Vec<&str> = identity
        .user_id()
        .into_iter()
        .chain(identity.user_name())
        .chain(identity.roles().iter().map(String::as_str))
        .collect();
    assert!(values.iter().all(|value| !value.is_empty() && !value.contains('\0')), "{identity:?}");
    assert!(values.iter().map(|value| value.len()).sum::<usize>() <= MAX_IDENTITY_BYTES);
    assert!(identity.roles().len() <= MAX_ROLES);
}
