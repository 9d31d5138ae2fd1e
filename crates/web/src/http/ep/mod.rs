//! What the rules would say: `POST /ep/validate`, in the shape of the services that others ask for it.

mod validate;

pub(crate) use validate::validate;
