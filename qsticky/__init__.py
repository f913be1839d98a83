"""qSticky keeps qBittorrent listening on the port that Gluetun was given."""

__version__ = "0.1.0"
HOME = "https://github.com/qsticky/qsticky"
