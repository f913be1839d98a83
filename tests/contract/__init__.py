"""One fact about Gluetun or qBittorrent each, held against the simulator and the real ones."""
