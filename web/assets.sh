#!/bin/sh
# Fetches the browser libraries named in package-lock.json into static/vendor/, where build.rs and the
# binary expect them. Needs npm; needs the network only when npm's cache does not have them.
set -eu
cd "$(dirname "$0")"
npm ci --silent --no-audit --no-fund --ignore-scripts
mkdir -p static/vendor
cp node_modules/uplot/dist/uPlot.iife.min.js node_modules/uplot/dist/uPlot.min.css static/vendor/
cp node_modules/uplot/LICENSE static/vendor/uPlot.LICENSE.txt
