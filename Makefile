# SPDX-License-Identifier: AGPL-3.0-or-later
#
#   make                 build the programs into build/gcc/bin
#   make setup           install what packages.txt and tests/web name; touches nothing when all is there
#   make demo            set up, build, show a whole journey (DOCS= how many documents, SERVER= a real server's URL)
#   make demo-usb        the same journey over a real USB stack, in a test machine
#   make test            set up, then everything tests/run.sh finds (T=word: only tests whose name has it)
#   make lint            the part of the tests that only reads the source
#   make fuzz            fuzz every target for SECONDS_EACH=60 seconds (T=word: only those)
#   make bench           measurements
#   make test-fresh      RUN='make demo' in a fresh Debian root (root only): finds an install step that the host hides
#   make install         programs, units, rules, pages below DESTDIR and PREFIX; uninstall takes them away (docs/install.md)
#   make build/gcc/tests/unit/foo_test LIBS='store base'      one unit test, without the rooms it does not need
#
# FLAVOUR= gcc (default), clang, san (ASan and UBSan), fuzz. V=1 shows whole commands. A new .c file in a room, in
# tests/unit or in tests/fuzz needs no change here.

PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
LIBEXECDIR ?= $(PREFIX)/libexec
MANDIR ?= $(PREFIX)/share/man
DOCDIR ?= $(PREFIX)/share/doc/boda
# Where udev and systemd look, whatever PREFIX is.
UDEVDIR ?= /usr/lib/udev/rules.d
UNITDIR ?= /usr/lib/systemd/system
SYSUSERSDIR ?= /usr/lib/sysusers.d
TMPFILESDIR ?= /usr/lib/tmpfiles.d
PKG_CONFIG ?= pkg-config
FLAVOUR ?= gcc
BUILD ?= build
O = $(BUILD)/$(FLAVOUR)

# ---- what is built from what -------------------------------------------------------------------------------------------
# A library's name and its folder; a folder's main.c stays out, so that unit tests can link the rest.
LIBS = courier check tablet dock boda host link store base
DIR_base = base
DIR_store = store
DIR_link = link
DIR_host = host
DIR_courier = gadget
DIR_check = gadget/check
DIR_tablet = host/tablet
DIR_dock = host/dock
DIR_boda = host/boda
DIR_support = tests/unit/support
DIR_bench = tests/bench/support

# A program's name and its libraries; the first one's folder has its main.c.
LIBS_boda-courier = courier check link store base
LIBS_boda-tablet = tablet host link store base
LIBS_boda-dock = dock host link store base
LIBS_boda = boda link store base
PROGRAMS = $(foreach p,boda boda-courier boda-dock boda-tablet,$(if $(wildcard $(call main,$p)),$p))

PACKAGES = openssl sqlite3 jansson yajl libzstd libmicrohttpd libcurl inih zlib libusb-1.0 libusbgx
# libaio has no .pc file.
PACKAGE_LIBS = -laio
TEST_PACKAGES = cmocka

main = $(DIR_$(firstword $(LIBS_$1)))/main.c
objects = $(patsubst %.c,$(O)/%.o,$1)
lib_objects = $(call objects,$(filter-out %/main.c,$(wildcard $(DIR_$1)/*.c)))
archives = $(patsubst %,$(O)/lib%.a,$1)

MAINS = $(call objects,$(foreach p,$(PROGRAMS),$(call main,$p)))
UNIT = $(patsubst %.c,$(O)/%,$(wildcard tests/unit/*_test.c))
FUZZ = $(patsubst %.c,$(O)/%,$(wildcard tests/fuzz/*_fuzz.c))
BENCH = $(patsubst %.c,$(O)/%,$(wildcard tests/bench/*_bench.c))
# The measurements over USB: one program, for the test machine.
USB_BENCH_OBJECTS = $(call objects,$(wildcard tests/bench/usb/*.c))
USB_BENCH = $(O)/tests/bench/usb/usb
# What tests in the machine start, and what they preload.
PRELOAD = $(patsubst %.c,$(O)/%.so,$(wildcard tests/vm/*_preload.c))
VM = $(patsubst %.c,$(O)/%,$(filter-out %_preload.c,$(wildcard tests/vm/*.c)))
OBJECTS = $(foreach l,$(LIBS) support bench,$(call lib_objects,$l)) $(MAINS) $(USB_BENCH_OBJECTS) $(addsuffix .o,$(UNIT) $(FUZZ) $(BENCH) $(VM))

# ---- flags -------------------------------------------------------------------------------------------------------------
WARNINGS = -Wall -Wextra -Wshadow -Wmissing-prototypes -Wconversion -Wpointer-arith -Werror
HARDENING = -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection -fPIE
SANITIZERS = -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all

CC_gcc = gcc
CC_clang = clang
CC_san = clang
CC_fuzz = clang
# A message cut short at the end of its buffer is meant: where a cut would matter, snprintf's result is checked.
CFLAGS_gcc = -O2 -g $(HARDENING) -Wno-format-truncation
CFLAGS_clang = -O2 -g $(HARDENING)
CFLAGS_san = -O1 -g $(SANITIZERS)
CFLAGS_fuzz = -O1 -g $(SANITIZERS) -fsanitize=fuzzer-no-link
LDFLAGS_gcc = -pie -Wl,-z,relro,-z,now
LDFLAGS_clang = $(LDFLAGS_gcc)
LDFLAGS_san = $(SANITIZERS)
LDFLAGS_fuzz = $(SANITIZERS)

CC = $(or $(CC_$(FLAVOUR)),$(error FLAVOUR=$(FLAVOUR): is none of gcc, clang, san, fuzz))
# Asked of pkg-config once, and only when something is compiled: make setup must work without it.
pkg = $(or $(shell $(PKG_CONFIG) $1),$(error pkg-config $1 failed: run make setup))
PKG_LIBS = $(eval PKG_LIBS := $(call pkg,--libs $(PACKAGES)) $(PACKAGE_LIBS))$(PKG_LIBS)
PKG_TEST_LIBS = $(eval PKG_TEST_LIBS := $(call pkg,--libs $(TEST_PACKAGES)))$(PKG_TEST_LIBS)
PKG_CFLAGS = $(eval PKG_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(PACKAGES)))$(PKG_CFLAGS)

COMPILE = $(CC) -std=c17 -D_GNU_SOURCE $(WARNINGS) -I. -pthread $(CFLAGS_$(FLAVOUR)) $(PKG_CFLAGS) $(CPPFLAGS) $(CFLAGS)
LINK = $(CC) -pthread $(CFLAGS_$(FLAVOUR)) $(LDFLAGS_$(FLAVOUR)) $(CFLAGS) $(LDFLAGS) -Wl,--as-needed
ours = -Wl,--start-group $(filter %.a,$1) -Wl,--end-group

# ---- rules -------------------------------------------------------------------------------------------------------------
ifeq ($(V),1)
run = $2
else
run = @printf '  %-5s %s\n' $1 $@; $2
endif

.PHONY: all programs unit benches fuzzers vm-tools everything setup demo demo-usb test test-fresh lint bench fuzz clean install uninstall \
        print-flags FORCE
.DELETE_ON_ERROR:
.SECONDARY:
.SUFFIXES:

all: programs
programs: $(addprefix $(O)/bin/,$(PROGRAMS))
unit: $(UNIT)
fuzzers: $(FUZZ)
benches: $(BENCH) $(USB_BENCH)
vm-tools: $(VM) $(PRELOAD)
everything: programs unit benches vm-tools

# The rules below add the prerequisites of each archive and program.
$(O)/%.o: %.c $(O)/compile.flags
	@mkdir -p $(@D)
	$(call run,CC,$(COMPILE) -MMD -MP -c -o $@ $<)

$(O)/lib%.a: $(O)/lib%.members
	$(call run,AR,rm -f $@ && $(AR) rcs $@ $(filter %.o,$^))

$(O)/bin/%: $(O)/compile.flags
	@mkdir -p $(@D)
	$(call run,LD,$(LINK) -o $@ $(filter %.o,$^) $(call ours,$^) $(PKG_LIBS))

$(O)/tests/unit/%_test: $(O)/tests/unit/%_test.o $(call archives,support $(LIBS))
	$(call run,LD,$(LINK) -o $@ $(filter %.o,$^) $(call ours,$^) $(PKG_LIBS) $(PKG_TEST_LIBS))

$(O)/tests/bench/%_bench: $(O)/tests/bench/%_bench.o $(call archives,bench $(LIBS))
	$(call run,LD,$(LINK) -o $@ $(filter %.o,$^) $(call ours,$^) $(PKG_LIBS))

$(USB_BENCH): $(USB_BENCH_OBJECTS) $(call archives,bench $(LIBS))
	$(call run,LD,$(LINK) -o $@ $(filter %.o,$^) $(call ours,$^) $(PKG_LIBS))

$(O)/tests/vm/%_preload.so: tests/vm/%_preload.c $(O)/compile.flags
	@mkdir -p $(@D)
	$(call run,LD,$(COMPILE) -fPIC -shared -o $@ $< -ldl)

$(O)/tests/vm/%: $(O)/tests/vm/%.o $(call archives,$(LIBS))
	$(call run,LD,$(LINK) -o $@ $(filter %.o,$^) $(call ours,$^) $(PKG_LIBS))

$(O)/tests/fuzz/%_fuzz: $(O)/tests/fuzz/%_fuzz.o $(call archives,$(LIBS))
	$(call run,LD,$(LINK) -fsanitize=fuzzer -o $@ $(filter %.o,$^) $(call ours,$^) $(PKG_LIBS))

# Files that change only when their text does: other flags, or a source file that is gone, rebuild what they should.
define keep_text
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ','\'',$1)' | cmp -s - $@ || printf '%s\n' '$(subst ','\'',$1)' >$@
endef
$(O)/compile.flags: FORCE
	$(call keep_text,$(COMPILE) $(LINK) $(PKG_LIBS))
$(O)/lib%.members: FORCE
	$(call keep_text,$(call lib_objects,$*))

$(foreach l,$(LIBS) support bench,$(eval $(O)/lib$l.a: $(call lib_objects,$l)))
$(foreach p,$(PROGRAMS),$(eval $(O)/bin/$p: $(call objects,$(call main,$p)) $(call archives,$(LIBS_$p))))
-include $(OBJECTS:.o=.d)

# What tests/lint/*.sh compile with.
print-flags:
	@printf '%s\n' '$(filter-out -Werror,$(wordlist 2,99,$(COMPILE)))'

# ---- set-up, tests, demo: each script says what it does -------------------------------------------------------------------
setup:
	@./setup.sh

demo: setup
	@$(MAKE) --no-print-directory all
	@DOCS='$(DOCS)' SERVER='$(SERVER)' BIN='$(abspath $(O)/bin)' tests/web/demo.sh

# The same in a test machine with a real USB stack, started by udev and systemd.
demo-usb: setup
	@$(MAKE) --no-print-directory all
	@DOCS='$(DOCS)' PLACE='$(PLACE)' USB=1 BIN='$(abspath $(O)/bin)' tests/web/demo-usb.sh

test: setup
	@T='$(T)' tests/run.sh

lint:
	@T=lint/ tests/run.sh

bench: setup
	@$(MAKE) --no-print-directory all benches
	@BIN='$(abspath $(O)/bin)' BENCH='$(abspath $(O)/tests/bench)' tests/bench/run.sh

fuzz: setup
	@$(MAKE) --no-print-directory FLAVOUR=fuzz fuzzers
	@T='$(T)' tests/fuzz.sh

test-fresh:
	@tests/fresh-root.sh

clean:
	rm -rf $(BUILD)

# ---- installation ------------------------------------------------------------------------------------------------------
# SOURCE:PLACE for each file but the programs.
INSTALLED = $(foreach f,$(wildcard docs/*.[158]),$f:$(MANDIR)/man$(subst .,,$(suffix $f))/$(notdir $f)) \
            $(foreach f,$(wildcard docs/*.md) udev/dock.ini,$f:$(DOCDIR)/$(notdir $f)) \
            $(foreach f,$(wildcard udev/*.rules),$f:$(UDEVDIR)/$(notdir $f)) \
            $(foreach f,$(wildcard udev/*.service udev/*.timer),$f:$(UNITDIR)/$(notdir $f)) \
            udev/sysusers.conf:$(SYSUSERSDIR)/boda.conf udev/tmpfiles.conf:$(TMPFILESDIR)/boda.conf
place = $(DESTDIR)$(word 2,$(subst :, ,$1))

# Below DESTDIR nothing is running that should know of it.
tell_system = $(if $(DESTDIR),,udev/tell-system.sh $1)

define install_file
	install -D -m 0644 $(firstword $(subst :, ,$1)) '$(call place,$1)'

endef
install: all
	install -d '$(DESTDIR)$(BINDIR)'
	install -m 0755 $(addprefix $(O)/bin/,$(PROGRAMS)) '$(DESTDIR)$(BINDIR)'
	install -D -m 0755 udev/boda-stick.sh '$(DESTDIR)$(LIBEXECDIR)/boda-stick'
	$(foreach i,$(INSTALLED),$(call install_file,$i))
	sed -i -e 's|@BINDIR@|$(BINDIR)|g; s|@LIBEXECDIR@|$(LIBEXECDIR)|g; s|@DOCDIR@|$(DOCDIR)|g' \
	    $(foreach i,$(filter %.service %.timer,$(INSTALLED)),'$(call place,$i)')
	$(call tell_system,installed $(SYSUSERSDIR)/boda.conf $(TMPFILESDIR)/boda.conf)

uninstall:
	$(call tell_system,leaving)
	rm -f $(foreach p,$(PROGRAMS),'$(DESTDIR)$(BINDIR)/$p') '$(DESTDIR)$(LIBEXECDIR)/boda-stick' \
	    $(foreach i,$(INSTALLED),'$(call place,$i)')
	[ ! -d '$(DESTDIR)$(DOCDIR)' ] || rmdir --ignore-fail-on-non-empty '$(DESTDIR)$(DOCDIR)'
	$(call tell_system,gone)
