# The front door. CMake does the work (CMakePresets.json); this file says what to call.
PREFIX ?= /usr/local

all: build/build.ninja
	@cmake --build build

# A first build takes the compiler as it comes: warnings are errors, and tests are built, in `make check`.
# What it needs is installed first, as in the other commands.
build/build.ninja:
	@scripts/deps build
	@cmake --preset release --log-level=WARNING -D ATTN_WERROR=OFF -D ATTN_BUILD_TESTS=OFF

demo:
	@scripts/demo

check:
	@scripts/check-tree

check-all:
	@scripts/check-tree
	@scripts/check-deep

install: all
	@cmake --install build --prefix "$(PREFIX)"

format:
	@python3 tests/house/check_format.py --fix .

# Models are kept: they were not built.
clean:
	@if [ -d build ]; then find build -mindepth 1 -maxdepth 1 ! -name models -exec rm -rf {} +; fi

.PHONY: all demo check check-all install format clean
