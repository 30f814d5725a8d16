# SPDX-License-Identifier: GPL-2.0
"""What runs, records and judges. See README.md in this folder."""
