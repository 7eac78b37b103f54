# The front door. `make run` and `make test` set up a fresh machine by themselves.
BUILD ?= build

.PHONY: all setup run test lint bench fuzz soak ha-demo systemd-proof deb clean
all: setup
	@ninja -C $(BUILD)

setup:
	@tools/setup.sh $(BUILD)
run: all
	@tools/run.sh $(BUILD)
test: setup
	@tools/test.sh $(BUILD)
lint: setup
	@tools/lint.sh $(BUILD)
bench: all
	@tools/bench.sh $(BUILD)
fuzz: setup
	@tools/fuzz.sh
soak: all
	@tools/soak.sh $(BUILD)
ha-demo: all
	@tools/ha-demo.sh $(BUILD)
systemd-proof: all
	@tools/systemd-proof.sh $(BUILD)
deb: all
	@tools/deb.sh $(BUILD)
clean:
	@rm -rf $(BUILD) build-*
