//! The two sizes of tiles.

/// How many outputs a tile has, and so which algorithm it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filtering {
    /// F(2 x 2, 3 x 3)
    Two,
    /// F(4 x 4, 3 x 3)
    Four,
}

impl Filtering {
    /// Rows and columns of outputs in a tile.
    pub(super) fn side(self) -> usize {
        match self {
            Self::Two => 2,
            Self::Four => 4,
        }
    }

    /// Rows and columns of a transformed tile.
    pub(super) fn span(self) -> usize {
        self.side() + 2
    }

    /// Places of a transformed tile, and so products.
    pub(super) fn places(self) -> usize {
        self.span() * self.span()
    }

    /// Tiles of an image.
    pub(super) fn tiles(self, [height, width]: [usize; 2]) -> usize {
        height.div_ceil(self.side()) * width.div_ceil(self.side())
    }

    /// Products of all tiles of an image.
    pub(super) fn products(self, size: [usize; 2]) -> usize {
        self.places() * self.tiles(size)
    }

    /// Tiles of an image below which it takes longer, alone in a batch, to read matrices than the products save: F(4 x 4, 3 x 3)
    /// wherever it saves products made resnet18 9 % slower than F(2 x 2, 3 x 3) for one image of 64 pixels (Zen 1).
    pub(super) fn least_tiles(self) -> usize {
        match self {
            Self::Two => 1,
            Self::Four => 4,
        }
    }
}

/// `body` with the [`Points`](super::points::Points) of a filtering.
macro_rules! with_points {
    ($filtering:expr, $points:ident => $body:expr) => {
        match $filtering {
            $crate::winograd::Filtering::Two => {
                let $points = $crate::winograd::points::Two;
                $body
            }
            $crate::winograd::Filtering::Four => {
                let $points = $crate::winograd::points::Four;
                $body
            }
        }
    };
}
pub(super) use with_points;
