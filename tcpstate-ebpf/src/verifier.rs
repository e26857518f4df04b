//! Functions that the verifier checks once, however many paths lead to a call.
//!
//! The verifier follows every path through a program. It follows the code after two paths only once
//! if both paths leave equivalent values in all registers. Two paths that leave different constants
//! are never equivalent in a program with calls (kernels before 6.3). Each branch then doubles the
//! number of paths, and the kernel refuses the program after a million instructions (E2BIG).
//!
//! A global function ends this growth (since 5.6, `do_check_subprogs`). The kernel checks a global
//! function separately, for arguments of any value. At a call, the kernel does not enter the
//! function again, and it knows nothing of the result. The arguments and the result must therefore
//! be numbers.

/// Defines a function that the verifier checks once, for arguments of any value.
macro_rules! checked_once {
    ($(#[$attribute:meta])* $visibility:vis fn $name:ident($($argument:ident: $kind:ty),+ $(,)?) -> $result:ty $body:block) => {
        $(#[$attribute])*
        // The function has a symbol of its own, so it is global for the kernel.
        #[unsafe(no_mangle)]
        #[inline(never)]
        $visibility extern "C" fn $name($($argument: $kind),+) -> $result $body
    };
}

pub(crate) use checked_once;
