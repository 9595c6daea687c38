#!/bin/sh
# Builds, signs and indexes the rpm repositories, inside a node's image. Usage: build.sh WORK OUT
# WORK: specs/GROUP.spec, staged/GROUP/, groups/REPOSITORY (one group a line), modules/REPOSITORY.yaml, keys/{rocky,epel,nvidia,stranger}.asc
set -eu
work=$1
out=$2
export GNUPGHOME=/tmp/gpg
mkdir -m 700 "$GNUPGHOME"
for key in "$work"/keys/*.asc; do gpg --batch --quiet --import "$key"; done

sign_with() {
  key=$1
  shift
  rpmsign --define "__gpg /usr/bin/gpg" --define "_gpg_name $key@mirror.lab" --resign "$@" >/tmp/sign.log 2>&1 || { cat /tmp/sign.log >&2; exit 1; }
}

index() {
  createrepo_c -q --general-compress-type=gz "$out/$1"
  if [ -e "$work/modules/$1.yaml" ]; then modifyrepo_c --mdtype=modules "$work/modules/$1.yaml" "$out/$1/repodata" >/dev/null; fi
  gpg --batch --yes -u "$2@mirror.lab" --detach-sign --armor "$out/$1/repodata/repomd.xml"
}

for spec in "$work"/specs/*.spec; do
  group=$(basename "$spec" .spec)
  rpmbuild -bb --quiet -D "_topdir /tmp/rpmbuild" -D "_rpmdir /tmp/rpms/$group" -D "_rpmfilename %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm" "$spec"
done
for list in "$work"/groups/*; do
  repository=$(basename "$list")
  mkdir "$out/$repository"
  while read -r group; do cp -l "/tmp/rpms/$group"/*.rpm "$out/$repository/" 2>/dev/null || cp "/tmp/rpms/$group"/*.rpm "$out/$repository/"; done <"$list"
done

for repository in baseos epel; do
  key=rocky
  [ $repository = baseos ] || key=epel
  sign_with $key "$out/$repository"/*.rpm
  index $repository $key
done
for repository in cuda cuda-el10 cuda-broken-build cuda-bad-proof; do
  sign_with nvidia "$out/$repository"/*.rpm
  index $repository nvidia
done

# What must be refused: packages of a stranger, packages without a signature, an index that a stranger signed.
for repository in cuda-wrong-key cuda-unsigned cuda-bad-index; do
  mkdir "$out/$repository"
  cp "$out"/cuda/*.rpm "$out/$repository/"
  cp "$work/modules/cuda.yaml" "$work/modules/$repository.yaml"
done
sign_with stranger "$out"/cuda-wrong-key/*.rpm
rpmsign --delsign "$out"/cuda-unsigned/*.rpm >/dev/null 2>&1
index cuda-wrong-key nvidia
index cuda-unsigned nvidia
index cuda-bad-index stranger
