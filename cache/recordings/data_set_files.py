"""Lists where a data set lies on this machine, so that no output takes the place of its files."""

from pathlib import Path

from cache.config.data import DataConfig
from cache.recordings.class_list import class_list_addresses
from cache.recordings.user_table import audio_directory, table_address
from cache.workspace.urls import is_url, resolve_address


def data_set_paths(config: DataConfig) -> list[Path]:
    """Returns the table, the class lists beside it, the audio folder and the background, without those at a URL."""
    addresses = [table_address(config), *class_list_addresses(config), audio_directory(config)]
    if config.background:
        addresses.append(resolve_address(config.background))
    return [Path(address) for address in addresses if not is_url(address)]
