//! Pages and the values in them, tried with inputs that nobody writes on purpose, against readers that share no code
//! with the decoder.

mod lenient;
mod page;
mod value;
