//! Signatures for the tests of records.

use crate::call::{Member, Mode, Parameter, ResultType, RowType, RowVersion, Shape, Signature, TypeKind};
use proptest::prelude::*;
use std::sync::Arc;

fn row<const N: usize>(kinds: [TypeKind; N]) -> TypeKind {
    let member = |kind| Member { name: "m".to_owned(), kind };
    TypeKind::Composite(Arc::new(RowType::new(kinds.map(member).into())))
}

pub(super) fn signature() -> Signature {
    let parameter = |name: &str, type_name: &str, mode, kind, has_default| Parameter {
        name: name.to_owned(),
        mode,
        type_oid: 25,
        type_name: type_name.to_owned(),
        kind,
        has_default,
    };
    let row = row([TypeKind::Bytes, TypeKind::TooLarge]);
    let array = TypeKind::Array { delimiter: ';', element: Arc::new(row.clone()) };
    Signature {
        parameters: vec![
            parameter("a", "t", Mode::Variadic, array.clone(), true),
            parameter("", "u", Mode::Out, row, false),
        ],
        result: ResultType {
            shape: Shape::Composite,
            is_set: true,
            columns: vec!["c".to_owned()],
            kinds: vec![array],
        },
        rows: vec![RowVersion { oid: 7, is_routine: false, digest: 9, is_argument: true }],
        strict: true,
        may_execute: true,
        owner_may_issue_tokens: false,
    }
}

pub(super) fn signatures() -> impl Strategy<Value = Signature> {
    let modes = prop::sample::select(vec![Mode::In, Mode::InOut, Mode::Out, Mode::Variadic, Mode::Table]);
    let leaves = [TypeKind::Scalar, TypeKind::Json, TypeKind::Bytes, TypeKind::Pseudo, TypeKind::TooLarge];
    let kinds = || {
        prop::sample::select(leaves.to_vec()).prop_recursive(3, 8, 2, |inner| {
            let array = (any::<char>(), inner.clone())
                .prop_map(|(delimiter, element)| TypeKind::Array { delimiter, element: Arc::new(element) });
            prop_oneof![array, [inner.clone(), inner].prop_map(row)]
        })
    };
    let parameter = (".{0,9}", modes, any::<u32>(), ".{0,9}", kinds(), any::<bool>()).prop_map(
        |(name, mode, type_oid, type_name, kind, has_default)| Parameter {
            name,
            mode,
            type_oid,
            type_name,
            kind,
            has_default,
        },
    );
    let shapes = prop::sample::select(vec![
        Shape::Void,
        Shape::Scalar,
        Shape::Json,
        Shape::Array,
        Shape::Composite,
        Shape::Record,
        Shape::Pseudo,
    ]);
    let columns = prop::collection::vec(".{0,9}", 0..4);
    let result = (shapes, any::<bool>(), columns, prop::collection::vec(kinds(), 0..3))
        .prop_map(|(shape, is_set, columns, kinds)| ResultType { shape, is_set, columns, kinds });
    let version = (any::<u32>(), any::<bool>(), any::<u64>(), any::<bool>()).prop_map(
        |(oid, is_routine, digest, is_argument)| RowVersion { oid, is_routine, digest, is_argument },
    );
    let rows = prop::collection::vec(version, 0..3);
    (prop::collection::vec(parameter, 0..5), result, rows, any::<[bool; 3]>()).prop_map(
        |(parameters, result, rows, [strict, may_execute, owner_may_issue_tokens])| Signature {
            parameters,
            result,
            rows,
            strict,
            may_execute,
            owner_may_issue_tokens,
        },
    )
}
