"""Blender's properties, with this extension's translation context."""

from functools import partial

from bpy import props

from . import CONTEXT

BoolProperty = partial(props.BoolProperty, translation_context=CONTEXT)
CollectionProperty = partial(props.CollectionProperty, translation_context=CONTEXT)
EnumProperty = partial(props.EnumProperty, translation_context=CONTEXT)
FloatProperty = partial(props.FloatProperty, translation_context=CONTEXT)
IntProperty = partial(props.IntProperty, translation_context=CONTEXT)
PointerProperty = partial(props.PointerProperty, translation_context=CONTEXT)
StringProperty = partial(props.StringProperty, translation_context=CONTEXT)
