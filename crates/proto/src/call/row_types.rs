//! Row types of many routines, each kept once.
//!
//! A routine's record has its types written out in full, each inside others, and thousands of routines may
//! use the same ones. Without sharing, a role with four types of ten members could make the gateway keep a
//! megabyte for each of its routines.
//!
//! Not for the structure itself ([`TypeKind`]).

use std::collections::HashSet;
use std::sync::Arc;

use super::signature::Signature;
use super::type_kind::{Member, RowType, TypeKind};

/// The row types of one reading of the catalog.
#[derive(Debug, Default)]
pub struct RowTypes(HashSet<Arc<RowType>>);

impl RowTypes {
    /// Puts the row types that are known already in the place of equal ones.
    pub fn share(&mut self, signature: &mut Signature) {
        let parameters = signature.parameters.iter_mut().map(|parameter| &mut parameter.kind);
        for kind in parameters.chain(&mut signature.result.kinds) {
            *kind = self.shared(kind);
        }
    }

    fn shared(&mut self, kind: &TypeKind) -> TypeKind {
        match kind {
            TypeKind::Array { delimiter, element } => {
                TypeKind::Array { delimiter: *delimiter, element: Arc::new(self.shared(element)) }
            }
            TypeKind::Composite(row) => {
                if let Some(known) = self.0.get(row) {
                    return TypeKind::Composite(Arc::clone(known));
                }
                let members = row.members().iter();
                let members = members
                    .map(|member| Member { name: member.name.clone(), kind: self.shared(&member.kind) });
                let row = Arc::new(RowType::new(members.collect()));
                self.0.insert(Arc::clone(&row));
                TypeKind::Composite(row)
            }
            TypeKind::Scalar | TypeKind::Bytes | TypeKind::Json | TypeKind::Pseudo | TypeKind::TooLarge => {
                kind.clone()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{Mode, Parameter, ResultType, Shape};

    fn row(members: Vec<(&str, TypeKind)>) -> TypeKind {
        let member = |(name, kind): (&str, TypeKind)| Member { name: name.to_owned(), kind };
        TypeKind::Composite(Arc::new(RowType::new(members.into_iter().map(member).collect())))
    }

    fn signature(kind: TypeKind) -> Signature {
        let parameter = Parameter {
            name: "x".to_owned(),
            mode: Mode::In,
            type_oid: 1,
            type_name: "x".to_owned(),
            kind: kind.clone(),
            has_default: false,
        };
        let result =
            ResultType { shape: Shape::Array, is_set: false, columns: Vec::new(), kinds: vec![kind] };
        Signature {
            parameters: vec![parameter],
            result,
            rows: Vec::new(),
            strict: false,
            may_execute: true,
            owner_may_issue_tokens: false,
        }
    }

    fn nested() -> TypeKind {
        let inner = || row(vec![("a", TypeKind::Scalar), ("b", TypeKind::Bytes)]);
        let array = TypeKind::Array { delimiter: ',', element: Arc::new(inner()) };
        row(vec![("one", inner()), ("other", inner()), ("many", array)])
    }

    #[test]
    fn equal_row_types_are_kept_once_however_deep_they_are() {
        let mut types = RowTypes::default();
        let (mut one, mut other) = (signature(nested()), signature(nested()));
        types.share(&mut one);
        types.share(&mut other);
        assert_eq!(one, signature(nested()), "and nothing has changed");
        assert_eq!(types.0.len(), 2);
        let address = |kind: &TypeKind| match kind {
            TypeKind::Composite(row) => Arc::as_ptr(row),
            other => panic!("{other:?}"),
        };
        let all = [&one, &other].map(|of| [address(&of.parameters[0].kind), address(&of.result.kinds[0])]);
        assert!(all.iter().flatten().all(|of| *of == all[0][0]));
        let TypeKind::Composite(outer) = &other.result.kinds[0] else { panic!() };
        let within: Vec<_> = outer.members().iter().take(2).map(|member| address(&member.kind)).collect();
        assert_eq!(within[0], within[1]);
    }

    #[test]
    fn types_that_differ_in_a_name_alone_stay_apart() {
        let mut types = RowTypes::default();
        let mut signatures = ["a", "b"].map(|name| signature(row(vec![(name, TypeKind::Scalar)])));
        signatures.iter_mut().for_each(|signature| types.share(signature));
        assert_eq!(signatures, ["a", "b"].map(|name| signature(row(vec![(name, TypeKind::Scalar)]))));
    }
}
