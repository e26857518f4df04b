//! Reads the fields and the lists of the filter's configuration.

/// Reads one field of the filter's configuration. The macro reads only that field, so that the
/// verifier knows the field's value.
macro_rules! filter {
    ($($field:tt)+) => {{
        let filter = $crate::config::filter_ptr();
        // SAFETY: `FILTER` is initialised, never freed, and frozen before the programs run.
        unsafe { (&raw const (*filter).$($field)+).read_volatile() }
    }};
}

/// Returns whether `$holds` is true for at least one item of a list in the filter's configuration.
/// The macro is a loop over the items in use, which the verifier can follow. A loop that is
/// unrolled to the maximum length would make up most of the object file.
macro_rules! any {
    ($list:ident, $count:ident, $holds:expr) => {{
        let filter = $crate::config::filter_ptr();
        let count = filter!($count) as usize;
        let mut index = 0;
        let mut holds = false;
        while index < count && !holds {
            // SAFETY: `FILTER` is initialised and frozen, and user space sets the count to at most
            // the number of items.
            let item = unsafe {
                let items = (&raw const (*filter).$list).cast_item();
                items.add(index).read_volatile()
            };
            holds = $holds(item);
            index += 1;
        }
        holds
    }};
}

/// Casts the raw pointer to a list into a raw pointer to the list's first item. The compiler would
/// check the bounds of an index expression, and the check could panic.
pub(crate) trait CastItem {
    type Item;
    fn cast_item(self) -> *const Self::Item;
}

impl<T, const N: usize> CastItem for *const [T; N] {
    type Item = T;

    #[inline(always)]
    fn cast_item(self) -> *const T {
        self.cast()
    }
}

pub(crate) use {any, filter};
