# Everything runs as root, through sudo where needed: the lab is a machine in a container and wants a Docker daemon.
SHELL := /bin/bash
SUDO := $(if $(filter 0,$(shell id -u)),,sudo -E)
SCRIPT := $(SUDO) bash scripts
PROFILE ?= p40x2-no-driver
NAME ?= site

.DEFAULT_GOAL := help
.PHONY: help setup site lab check lint sanity unit artifact molecule test bench clean

help:            ## this list
	@grep -hE '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/: .*## /\t/' | expand -t 12

setup:           ## distribution packages, Docker daemon, Python tooling
	@$(SCRIPT)/setup.sh

site: setup      ## the main job on a simulated server with two Tesla P40
	@$(SCRIPT)/site.sh "$(PROFILE)" "$(NAME)"

lab: setup       ## the lab's own commands: make lab ARGS="up p40x2"
	@$(SCRIPT)/with-env.sh python3 -m tests.lab $(ARGS)

check: setup     ## the fast part of the tests: lint and unit tests
	@$(SCRIPT)/test.sh lint unit

lint: setup
	@$(SCRIPT)/test.sh lint

sanity: setup
	@$(SCRIPT)/test.sh sanity

unit: setup
	@$(SCRIPT)/test.sh unit

artifact: setup
	@$(SCRIPT)/test.sh artifact

molecule: setup
	@$(SCRIPT)/test.sh molecule

test:            ## all tests
	@$(SCRIPT)/test.sh setup lint sanity unit artifact lab molecule

bench: setup     ## cost of gpu_facts, of a check, of a fleet and of a run that changes nothing, and replicas under load: make bench ARGS="modules load"
	@$(SCRIPT)/with-env.sh python3 -m tests.bench $(ARGS)

clean:           ## removes nodes, images, caches, tooling and what setup installed or started
	@$(SCRIPT)/clean.sh
