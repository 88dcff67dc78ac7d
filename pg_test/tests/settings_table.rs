//! One table of settings: what a server says of them, what `docs/settings.md` says, and the defaults that
//! the gateway has when it runs without Postgres are the same.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use common::shared;
use sse_gateway::{AuthSettings, CookieName, Settings, TlsSettings};

/// A row of `pg_settings`.
#[derive(Debug)]
struct Shown {
    default: String,
    unit: String,
    context: String,
    kind: String,
    range: (String, String),
    words: String,
    description: String,
}

fn shown() -> Result<BTreeMap<String, Shown>> {
    let rows = shared().sql(
        "select concat_ws('|', name, boot_val, coalesce(unit, ''), context, vartype, coalesce(min_val, ''), coalesce(max_val, ''),
            coalesce(array_to_string(enumvals, ' '), ''), short_desc || ' ' || extra_desc)
         from pg_settings where name like 'sse.%'",
    )?;
    let row = |line: &str| {
        let fields: Vec<String> = line.splitn(9, '|').map(str::to_owned).collect();
        let [name, default, unit, context, kind, least, most, words, description] =
            <[String; 9]>::try_from(fields).map_err(|fields| anyhow::anyhow!("{fields:?}"))?;
        Ok((name, Shown { default, unit, context, kind, range: (least, most), words, description }))
    };
    rows.lines().map(row).collect()
}

/// A row of the table in `docs/settings.md`.
#[derive(Debug)]
struct Documented {
    default: String,
    effect: String,
    range: String,
}

fn documentation() -> Result<String> {
    Ok(fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/settings.md"))?)
}

fn documented() -> Result<BTreeMap<String, Documented>> {
    let mut found = BTreeMap::new();
    for line in documentation()?.lines().filter(|line| line.starts_with("| [`sse.")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, default, effect, range] = cells.as_slice() else { anyhow::bail!("{line}") };
        let name = name.split('`').nth(1).context("no name")?.to_owned();
        let default = if *default == "empty" { "" } else { default.trim_matches('`') };
        let row = Documented {
            default: default.to_owned(),
            effect: (*effect).to_owned(),
            range: (*range).to_owned(),
        };
        ensure!(found.insert(name, row).is_none(), "twice: {line}");
    }
    Ok(found)
}

/// `text`, with or without a unit, in units of `unit`, as guc.c converts (`convert_to_base_unit`).
fn in_units(text: &str, unit: &str) -> Result<i64> {
    let factor = |unit: &str| -> Result<i64> {
        Ok(match unit {
            "" | "B" | "ms" => 1,
            "kB" => 1 << 10,
            "MB" => 1 << 20,
            "GB" => 1 << 30,
            "s" => 1000,
            "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            other => anyhow::bail!("what is {other}?"),
        })
    };
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, of) = text.split_at(digits);
    let number: i64 = number.parse().with_context(|| text.to_owned())?;
    Ok(if of.is_empty() { number } else { number * factor(of)? / factor(unit)? })
}

#[test]
fn every_setting_is_documented_with_its_default_its_range_and_when_it_takes_effect() -> Result<()> {
    let (shown, documented) = (shown()?, documented()?);
    assert!(shown.len() > 40, "{}", shown.len());
    assert_eq!(
        shown.keys().collect::<Vec<_>>(),
        documented.keys().collect::<Vec<_>>(),
        "of the server, of the documentation"
    );
    let text = documentation()?;
    for (name, setting) in &shown {
        let row = &documented[name];
        let (effect, sentence) = match setting.context.as_str() {
            "postmaster" => ("start", "Takes effect at server start."),
            "sighup" => ("reload", "Takes effect on reload."),
            "user" => ("session", "Takes effect at once, in the session that sets it."),
            other => anyhow::bail!("{name}: {other}"),
        };
        assert_eq!(row.effect, effect, "{name}");
        assert!(setting.description.ends_with(sentence), "{name}: {}", setting.description);
        assert!(text.contains(&format!("**`{name}`**")), "{name} has no paragraph");
        match setting.kind.as_str() {
            "integer" => {
                assert_eq!(in_units(&row.default, &setting.unit)?, setting.default.parse::<i64>()?, "{name}");
                let (least, most) =
                    row.range.split_once(" to ").with_context(|| format!("{name}: {row:?}"))?;
                assert_eq!(in_units(least, &setting.unit)?, setting.range.0.parse::<i64>()?, "{name}");
                assert_eq!(in_units(most, &setting.unit)?, setting.range.1.parse::<i64>()?, "{name}");
            }
            "enum" => {
                assert_eq!(row.default, setting.default, "{name}");
                assert_eq!(row.range.replace(['`', ','], ""), setting.words, "{name}");
            }
            "bool" => {
                assert_eq!(
                    (row.default.as_str(), row.range.as_str()),
                    (&*setting.default, "`on`, `off`"),
                    "{name}"
                );
            }
            "string" => assert_eq!(row.default, setting.default, "{name}"),
            other => anyhow::bail!("{name}: {other}"),
        }
    }
    Ok(())
}

// Long because it names every setting.
#[test]
fn a_gateway_without_postgres_has_the_same_defaults() -> Result<()> {
    // When a field is added, the compiler asks for it here.
    let Settings {
        server_names,
        trusted_proxies,
        cors_origins,
        execution_id_headers,
        auth,
        tls,
        heartbeat_interval,
        retry,
        max_connections,
        max_connections_per_address,
        write_timeout,
        idle_timeout,
        window_size,
        window_age,
        response_headers,
        static_root,
        call_timeout,
        call_workers,
        max_event_size,
        call_queue_size,
        max_body_size,
        login_failures,
        user_parameters,
        client_prefix,
        primary_url,
    } = Settings::default();
    let AuthSettings {
        jwt_secret,
        jwt_secret_file,
        jwt_key_file,
        jwt_issuer,
        jwt_audience,
        claim_names,
        cookie_name,
        cookie_same_site,
        token_parameter,
        require_authentication,
        session_lifetime,
    } = auth;
    let shown = shown()?;
    let of = |name: &str| -> Result<&Shown> { shown.get(name).with_context(|| name.to_owned()) };
    let text = |name: &str| -> Result<&str> { Ok(of(name)?.default.as_str()) };
    let time = |name: &str| -> Result<Duration> {
        let setting = of(name)?;
        Ok(Duration::from_millis(
            in_units(&format!("{}{}", setting.default, setting.unit), "ms")?.try_into()?,
        ))
    };
    let size = |name: &str| -> Result<usize> {
        let setting = of(name)?;
        Ok(in_units(&format!("{}{}", setting.default, setting.unit), "B")?.try_into()?)
    };
    let switch = |name: &str| -> Result<bool> { Ok(text(name)? == "on") };

    assert_eq!(server_names.join(","), text("sse.server_names")?);
    assert_eq!((trusted_proxies, ""), (Default::default(), text("sse.trusted_proxies")?));
    assert_eq!((cors_origins, ""), (Default::default(), text("sse.cors_origins")?));
    let headers: Vec<&str> = execution_id_headers.iter().map(|name| name.as_str()).collect();
    assert_eq!(headers.join(", "), text("sse.execution_id_headers")?.to_lowercase());
    assert_eq!(heartbeat_interval, time("sse.heartbeat_interval")?);
    assert_eq!(retry, time("sse.retry")?);
    assert_eq!(max_connections, size("sse.max_connections")?);
    assert_eq!(max_connections_per_address, size("sse.max_connections_per_address")?);
    assert_eq!(write_timeout, time("sse.write_timeout")?);
    assert_eq!(idle_timeout, time("sse.idle_timeout")?);
    assert_eq!(window_size, size("sse.window_size")?);
    assert_eq!(window_age, time("sse.window_age")?);
    assert_eq!((response_headers, ""), (Default::default(), text("sse.response_headers")?));
    assert_eq!(static_root.unwrap_or_default(), PathBuf::from(text("sse.static_root")?));
    assert_eq!(call_timeout, time("sse.call_timeout")?);
    assert_eq!(login_failures, size("sse.login_failures")?);
    assert_eq!(call_workers, size("sse.call_workers")?);
    assert_eq!(max_event_size, size("sse.max_event_size")?);
    assert_eq!(call_queue_size, size("sse.call_queue_size")?);
    assert_eq!(max_body_size, size("sse.max_body_size")?);
    assert_eq!(user_parameters, switch("sse.user_parameters")?);
    assert_eq!(primary_url.is_some(), !text("sse.primary_url")?.is_empty());
    assert_eq!(client_prefix.is_some(), switch("sse.serve_client")?);

    let TlsSettings { certificate_file, private_key_file, http2 } = tls;
    assert_eq!(http2, switch("sse.http2")?);
    assert_eq!(certificate_file.unwrap_or_default(), PathBuf::from(text("sse.tls_certificate_file")?));
    assert_eq!(private_key_file.unwrap_or_default(), PathBuf::from(text("sse.tls_private_key_file")?));
    assert!(jwt_secret.is_none() && text("sse.jwt_secret")?.is_empty());
    assert_eq!(jwt_secret_file.unwrap_or_default(), PathBuf::from(text("sse.jwt_secret_file")?));
    assert_eq!(jwt_key_file.unwrap_or_default(), PathBuf::from(text("sse.jwt_key_file")?));
    assert_eq!(jwt_issuer.unwrap_or_default(), text("sse.jwt_issuer")?);
    assert_eq!(jwt_audience.unwrap_or_default(), text("sse.jwt_audience")?);
    let names = sse_proto::identity::ClaimNames::parse(
        text("sse.claim_user_id")?,
        text("sse.claim_user_name")?,
        text("sse.claim_user_roles")?,
    )
    .map_err(|error| anyhow::anyhow!("{error:?}"))?;
    assert_eq!(format!("{claim_names:?}"), format!("{names:?}"));
    assert_eq!(format!("{cookie_name:?}"), format!("{:?}", CookieName::parse(text("sse.cookie_name")?)?));
    assert_eq!(format!("{cookie_same_site:?}").to_lowercase(), text("sse.cookie_same_site")?);
    assert!(token_parameter.is_none() && text("sse.token_parameter")?.is_empty());
    assert_eq!(require_authentication, switch("sse.require_authentication")?);
    assert_eq!(session_lifetime, time("sse.session_lifetime")?);
    Ok(())
}
