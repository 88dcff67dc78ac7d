//! C2.5: what counts as a near miss, in which comments, and which words of other tools are left alone.
#![allow(clippy::unwrap_used)]

use sse_proto::annotation::Annotation;

fn assert_flagged(line: &str, word: &str, nearest: &str) {
    for anchor in ["@sse", "HTTP POST"] {
        let comment = format!("{anchor}\n{line}");
        let problems = Annotation::parse(&comment).expect_err(&comment);
        let found: Vec<_> = problems.iter().map(|p| (p.line, p.word.as_str(), p.nearest)).collect();
        assert_eq!(found, [(2, word, Some(nearest))], "{comment:?}");
    }
}

fn assert_left_alone(line: &str) {
    for anchor in ["@sse", "HTTP POST"] {
        let (with, without) = (format!("{anchor}\n{line}"), anchor);
        assert_eq!(Annotation::parse(&with), Annotation::parse(without), "{line:?}");
    }
}

#[test]
fn a_near_miss_behind_an_at_sign_is_a_mistake() {
    for (word, nearest) in [
        ("@authorise", "@authorize"),
        ("@autorize", "@authorize"),
        ("@Authorised", "@authorized"),
        ("@authorizes", "@authorize"),
        ("@autorise", "@authorize"),
        ("@anonimous", "@anonymous"),
        ("@allow-anonymous", "@allow_anonymous"),
        ("@allowAnonymous", "@allow_anonymous"),
        ("@logn", "@login"),
        ("@lgoin", "@login"),
        ("@logouts", "@logout"),
        ("@signOt", "@signout"),
        ("@userparameters", "@user_parameters"),
        ("@user_param", "@user_params"),
        ("@user_contxt", "@user_context"),
        ("@pth", "@path"),
        ("@ss", "@sse"),
        ("@ses", "@sse"),
        ("@ssse", "@sse"),
        // JSDoc's word, but one letter from `@sse`: C2.5 makes no exception, so none is made here.
        ("@see", "@sse"),
        ("@ss_scope", "@sse_scope"),
        ("@requires_authorisation", "@requires_authorization"),
        ("@authorizé", "@authorize"),
    ] {
        assert_flagged(word, word, nearest);
        assert_flagged(&format!("{word} a, b"), word, nearest);
    }
}

#[test]
fn whatever_begins_with_sse_is_ours() {
    for (line, nearest) in [
        ("@sse_", "@sse"),
        ("@ssescope all", "@sse_scope"),
        ("@sse-scope all", "@sse_scope"),
        ("@SSE_LEVLE notice", "@sse_level"),
        ("@sse_events_levels info", "@sse_events_level"),
    ] {
        let word = line.split(' ').next().unwrap();
        assert_flagged(line, word, nearest);
        assert_eq!(Annotation::parse(line).unwrap_err().len(), 1, "{line} alone in its comment");
    }
    for line in ["@sse: true", "@sse.level notice", "@sse\u{a0}on notice", "@sse\\n@sse_scope authorize"] {
        assert!(Annotation::parse(line).is_err(), "{line:?}");
    }
}

#[test]
fn a_word_alone_on_a_line_without_its_at_sign_is_a_mistake() {
    for (line, word, nearest) in [
        ("authorize", "authorize", "@authorize"),
        (" Login ", "Login", "@login"),
        ("sse", "sse", "@sse"),
        ("anon.", "anon", "@anon"),
        ("path:", "path", "@path"),
        ("authorise", "authorise", "@authorize"),
        ("authorize = admin", "authorize", "@authorize"),
        ("sse_scope authorize", "sse_scope", "@sse_scope"),
    ] {
        assert_flagged(line, word, nearest);
    }
}

/// Attack on the author's own intent: a slip of the pen must not silently drop the line that narrows.
#[test]
fn a_word_that_something_clings_to_is_a_mistake() {
    for (line, word, nearest) in [
        ("@authorize:admin", "@authorize:admin", "@authorize"),
        ("@authorize(admin)", "@authorize(admin)", "@authorize"),
        ("@authorize\u{a0}admin", "@authorize\u{a0}admin", "@authorize"),
        ("@authorise: admin", "@authorise", "@authorize"),
        ("* @authorize", "* @authorize", "@authorize"),
        ("-- @logn", "-- @logn", "@login"),
        ("@@authorize", "@@authorize", "@authorize"),
        ("@ authorize admin", "@ authorize", "@authorize"),
        ("\u{feff}@authorize", "\u{feff}@authorize", "@authorize"),
        ("@http GET", "@http", "HTTP"),
    ] {
        assert_flagged(line, word, nearest);
    }
}

#[test]
fn two_annotations_on_one_line_are_a_mistake() {
    for (line, word) in
        [("@authorize @login", "@login"), ("@login, @anonimous", "@anonimous"), ("@authorize a @sse", "@sse")]
    {
        let problems = Annotation::parse(&format!("@sse\n{line}")).unwrap_err();
        assert_eq!((problems.len(), problems[0].word.as_str()), (1, word), "{line}");
    }
}

// Long because it is one list of words.
#[test]
fn words_of_other_tools_beyond_the_distance_are_left_alone() {
    for word in [
        // JSDoc and its family.
        "param",
        "return",
        "returns",
        "throws",
        "example",
        "deprecated",
        "since",
        "version",
        "author",
        "link",
        "todo",
        "type",
        "internal",
        "private",
        "public",
        "summary",
        "description",
        "note",
        "name",
        "category",
        // PostGraphile's smart tags.
        "omit",
        "simpleCollections",
        "foreignKey",
        "primaryKey",
        "sortable",
        "filterable",
        "behavior",
        "notNull",
        // NpgsqlRest's words that are not ours.
        "cached",
        "raw",
        "void",
        "tag",
        "tags",
        "header",
        "param_type",
        "request_param_type",
        "tsclient",
        "tsclient_module",
        "basic_auth",
        "command_timeout",
        "internal",
        "disabled",
        "enabled",
        "upload",
        "proxy",
        // The same as the beginning of one of ours, or close to one.
        "auth",
        "authority_list",
        "user",
        "users",
        "user_id",
        "log",
        "logger",
        "sign",
        "plugin",
        "allow",
        "scope",
        "level",
        "topic",
        "event",
    ] {
        assert_left_alone(&format!("@{word}"));
        assert_left_alone(&format!("@{word} some = value, more"));
    }
}

#[test]
fn prose_is_left_alone() {
    for line in [
        "Authorize the caller before this is called.",
        "login, then send",
        "Publishes with @sse_scope authorize.",
        "Use:",
        "Math",
        "see",
        "SSE stream for the chat",
        "- a list",
        "* @param x",
        "mail@example.org",
        "\"quoted\"",
        "42",
        "@",
        "@ home",
        "@42",
        "author",
    ] {
        assert_left_alone(line);
    }
}

#[test]
fn near_misses_are_looked_for_in_our_comments_only() {
    for comment in ["@authorise", "login", "@sse = false\n@authorise", "* @sse", "HTTP client\n@anonimous"] {
        assert_eq!(Annotation::parse(comment), Ok(None), "{comment:?}");
    }
}

#[test]
fn the_distance_is_counted_up_to_its_limit_and_not_beyond() {
    // `login` has five letters (limit 1), `signout` seven (limit 2).
    for (word, flagged) in [("@logi", true), ("@log", false), ("@signo", true), ("@sign", false)] {
        assert_eq!(Annotation::parse(&format!("HTTP\n{word}")).is_err(), flagged, "{word}");
    }
}

#[test]
fn a_long_comment_is_read_line_by_line() {
    let long_word = format!("@sse\n@{}", "a".repeat(60 << 10));
    let many_lines = format!("@sse\n{}", "@authrize\n".repeat(30));
    assert!(Annotation::parse(&long_word).is_ok());
    assert_eq!(Annotation::parse(&many_lines).unwrap_err().len(), 30);
}
