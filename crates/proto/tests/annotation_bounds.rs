//! How much of a comment is read, and how much is said about it (C2.5).
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use proptest::prelude::*;
use sse_proto::annotation::{Annotation, MAX_COMMENT_BYTES, MAX_PROBLEMS, Problem, Skim, too_long};

/// Filled up with prose to this length.
fn of_length(comment: &str, bytes: usize) -> String {
    let mut text = comment.to_owned();
    while text.len() + 60 < bytes {
        text += "\nprose that says what the routine is for, and to whom";
    }
    text += &format!("\n{}", "x".repeat(bytes));
    text.truncate(bytes);
    text
}

fn mistakes(comment: &str) -> Vec<Problem> {
    Annotation::parse(comment).unwrap_err()
}

#[test]
fn a_comment_is_read_up_to_its_limit_and_one_byte_more_is_one_mistake() {
    for annotation in ["@sse", "Says it.\n @SSE on notice", "HTTP", "\tHTTP /x", "http post"] {
        let read = Annotation::parse(annotation).unwrap();
        assert!(read.is_some(), "{annotation}");
        for bytes in [MAX_COMMENT_BYTES - 1, MAX_COMMENT_BYTES] {
            assert_eq!(
                Annotation::parse(&of_length(annotation, bytes)),
                Ok(read.clone()),
                "{annotation} {bytes}"
            );
        }
        assert_eq!(mistakes(&of_length(annotation, MAX_COMMENT_BYTES + 1)), [too_long()], "{annotation}");
    }
}

#[test]
fn a_long_comment_without_a_line_of_ours_is_prose() {
    for comment in [
        "",
        "See @sse for details",
        "@param x text",
        "HTTP client of the billing service",
        "HTTPS",
        "@authorize",
    ] {
        assert_eq!(Annotation::parse(&of_length(comment, 10 * MAX_COMMENT_BYTES)), Ok(None), "{comment}");
    }
}

#[test]
fn a_line_of_ours_is_found_wherever_it_stands_in_a_long_comment() {
    let prose = of_length("", 3 * MAX_COMMENT_BYTES);
    for end in ["\n", "\r", "\r\n"] {
        for line in ["@sse", "\t @sse_scope x", "HTTP GET /x", "@ssee", "@sse = false"] {
            assert_eq!(mistakes(&format!("{prose}{end}{line}")), [too_long()], "{line}");
            assert_eq!(mistakes(&format!("{prose}{end}{line}{end}{prose}")), [too_long()], "{line}");
        }
    }
}

/// Attack: a comment that is all mistakes makes a list that is kept, sent and shown.
#[test]
fn so_many_mistakes_are_said_and_then_that_there_are_more() {
    for (count, said) in [
        (MAX_PROBLEMS - 1, MAX_PROBLEMS - 1),
        (MAX_PROBLEMS, MAX_PROBLEMS),
        (MAX_PROBLEMS + 1, MAX_PROBLEMS + 1),
        (4000, MAX_PROBLEMS + 1),
    ] {
        for (first, line) in [
            ("@sse", "@authorise"),
            ("@sse on noise", "@authorise"),
            ("HTTP GET", "@sse_level info"),
            ("HTTP x /z", "@sse_level info"),
        ] {
            let own = usize::from(first.len() > 8);
            let problems = mistakes(&format!("{first}\n{}", format!("{line}\n").repeat(count - own)));
            assert_eq!(problems.len(), said, "{first} {count}");
            let last = problems.last().unwrap().to_string();
            assert_eq!(last.contains("and more"), count > MAX_PROBLEMS, "{last}");
            assert!(problems.is_sorted_by_key(|problem| problem.line));
        }
    }
}

/// Attack: a role's own comment keeps a session, or all who build routes, busy. The limits are generous: this
/// is a build without optimisation, on a busy machine. Without the bounds they are passed by far.
#[test]
fn no_comment_takes_long_to_read_whatever_is_in_it() {
    let whole = |line: &str| format!("@sse\n{}", line.repeat((MAX_COMMENT_BYTES - 5) / line.len()));
    let values = |from: usize| (from..from + 4000).map(|n| format!("v{n} ")).collect::<String>();
    let comments = [
        whole("@authorise\n"),
        whole("@alow_anonimou\n"),
        whole("@abcdefghi\n"),
        whole("authorise\n"),
        whole("abcdefghi\n"),
        whole("a\n"),
        whole("* @login\n"),
        whole("@authorize a,b\n"),
        whole("@authorise "),
        whole("@x "),
        whole("\""),
        whole(" "),
        whole("\r"),
        whole("HTTP GETT\n"),
        whole("@sse_topic x\n"),
        format!("@sse\n@authorize {}\n@authorize {}", values(0), values(0)),
        format!("@sse\n@authorize {}\n@authorize {}", values(0), values(1)),
        format!("@sse\n{}", "@authorise\n".repeat(600_000)),
        "HTTP x y\n".repeat(700_000),
        "@ss\n".repeat(1_500_000),
        " ".repeat(6_000_000),
        "\n".repeat(6_000_000),
    ];
    for comment in comments {
        let started = Instant::now();
        let _ = Annotation::parse(&comment);
        let took = started.elapsed();
        assert!(took < Duration::from_secs(4), "{took:?} for {:?}…", comment.get(..40));
    }
}

proptest! {
    #[test]
    fn looking_in_pieces_finds_what_looking_at_once_finds(
        comment in "([@sSe hHtTpP/\n\r\tx]{0,12}|@sse|HTTP\n|\n\n|[^a]{0,5}){0,12}", piece in 1usize..20,
    ) {
        let at_once = Skim::new(comment.as_bytes()).look_at_all();
        let mut skim = Skim::new(comment.as_bytes());
        let in_pieces = std::iter::from_fn(|| Some(skim.look(piece))).find_map(|answer| answer);
        prop_assert_eq!(in_pieces, Some(at_once));
    }

    #[test]
    fn what_is_read_as_ours_is_found_to_be_ours_when_it_is_long(comment in "(@sse[a-z_]{0,8} ?[a-z]{0,4}\n|[a-z ]{0,9}\n|HTTP( GET)?( /x)?\n){1,6}") {
        if let Ok(Some(annotation)) = Annotation::parse(&comment)
            && (annotation.is_sse() || annotation.http.is_some()) {
            prop_assert!(Skim::new(comment.as_bytes()).look_at_all());
        }
    }
}
